from telstate.dropin.katsdptelstate.endpoint import *
