from telstate.dropin.katsdptelstate.rdb_reader import *
