import sys

sys.path.insert(0, "packages/telstate-rdb/tests")
sys.path.insert(0, "packages/telstate-rdb/tests/cli")
from rdb_servers import fill
from test_resp import *

for b in redis_binaries():
    with RedisServer(b, ["--maxmemory-policy", "allkeys-lru"]) as s:
        fill(s)
        connect(s).save()
        f = s.folder / "dump.rdb"
        for o in ([], ["--restore"]):
            with RedisServer(b) as s2:
                e = send(s2, run("resp", f, *o).data)
                print(b, o, e[:3])
                connect(s2).save()
                for d in compare_rdb(
                    str(f), str(s2.folder / "dump.rdb"), ignore_times=not o, full=True
                ):
                    print(d.what, d.key, str(d.changes)[:400])
