from telstate.dropin.katsdptelstate.rdb_writer import *
