from telstate.dropin.katsdptelstate.aio import *
