import time
from telstate_rdb import *
from telstate_rdb.summary import summarise
p="/tmp/w/rdbcli-perf.rdb"
for _ in range(3):
    t=time.process_time(); n=sum(1 for _ in read_rdb(p)); a=time.process_time()-t
    t=time.process_time(); summarise(read_rdb(p,strict=False,raw=True,auxiliary=True)); b=time.process_time()-t
    t=time.process_time(); 
    for m in read_rdb(p,raw=True).measures(): pass
    c=time.process_time()-t
    t=time.process_time(); 
    for m in read_rdb(p,raw=True): pass
    d=time.process_time()-t
    print(a,b,c,d)
