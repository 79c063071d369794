from telstate.dropin.katsdptelstate.aio.memory import *
