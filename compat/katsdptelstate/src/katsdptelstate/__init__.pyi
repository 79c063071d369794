from telstate import ALLOWED_ENCODINGS as ALLOWED_ENCODINGS
from telstate import ENCODING_DEFAULT as ENCODING_DEFAULT
from telstate import ENCODING_MSGPACK as ENCODING_MSGPACK
from telstate import ENCODING_PICKLE as ENCODING_PICKLE
from telstate import PICKLE_PROTOCOL as PICKLE_PROTOCOL
from telstate import CancelledError as CancelledError
from telstate import ConnectionError as ConnectionError
from telstate import DecodeError as DecodeError
from telstate import EncodeError as EncodeError
from telstate import ImmutableKeyError as ImmutableKeyError
from telstate import InvalidKeyError as InvalidKeyError
from telstate import InvalidTimestampError as InvalidTimestampError
from telstate import KeyType as KeyType
from telstate import RdbParseError as RdbParseError
from telstate import TelescopeState as TelescopeState
from telstate import TelstateError as TelstateError
from telstate import TimeoutError as TimeoutError
from telstate import decode_value as decode_value
from telstate import encode_value as encode_value
from telstate import equal_encoded_values as equal_encoded_values
from telstate import set_allow_pickle as set_allow_pickle

__version__: str
