from telstate.dropin.katsdptelstate.aio.backend import *
