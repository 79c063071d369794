from telstate.dropin.katsdptelstate.telescope_state import *
