from telstate.dropin.katsdptelstate.rdb_utility import *
