from telstate.dropin.katsdptelstate.backend import *
