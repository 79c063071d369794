from telstate.dropin.katsdptelstate.errors import *
