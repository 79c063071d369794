from telstate.dropin.katsdptelstate.redis import *
