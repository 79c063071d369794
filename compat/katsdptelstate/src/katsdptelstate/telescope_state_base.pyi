from telstate.dropin.katsdptelstate.telescope_state_base import *
