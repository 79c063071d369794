from telstate.dropin.katsdptelstate.utils import *
