from telstate.dropin.katsdptelstate.encoding import *
