from telstate.dropin.katsdptelstate.rdb_writer_base import *
