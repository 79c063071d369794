from telstate.dropin.katsdptelstate.aio.redis import *
