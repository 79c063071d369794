import os,sys,time,subprocess,resource
from telstate_rdb import *
p="/tmp/w/rdbcli-perf.rdb"
if not os.path.exists(p):
    with RdbWriter(p) as w:
        for i in range(300_000): w.write(b"key:%08d:"%i+b"x"*17, b"v%d"%i)
t=time.process_time(); n=sum(1 for _ in read_rdb(p)); a=time.process_time()-t; print("read_rdb",a)
def cpu(*args):
    b=resource.getrusage(resource.RUSAGE_CHILDREN); subprocess.run([sys.executable,"-m","telstate_rdb",*args],stdout=subprocess.DEVNULL,check=False)
    e=resource.getrusage(resource.RUSAGE_CHILDREN); print(args[0],args[2:],round(e.ru_utime-b.ru_utime+e.ru_stime-b.ru_stime,2), "maxrss MB", e.ru_maxrss//1024)
cpu("--help"); cpu("info",p);cpu("verify",p);cpu("keys",p);cpu("keys",p,"--names");cpu("keys",p,"--json");cpu("json",p);cpu("memory",p);cpu("memory",p,"--by-prefix",":");cpu("resp",p);cpu("diff",p,p);cpu("convert",p,"/tmp/w/rdbcli-out.rdb","--force")
