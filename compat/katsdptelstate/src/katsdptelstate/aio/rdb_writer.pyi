from telstate.dropin.katsdptelstate.aio.rdb_writer import *
