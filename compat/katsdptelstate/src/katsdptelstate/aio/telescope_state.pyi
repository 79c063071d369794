from telstate.dropin.katsdptelstate.aio.telescope_state import *
