from telstate.dropin.katsdptelstate.memory import *
