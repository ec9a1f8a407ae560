"""TVM's C API (0.8 to 0.19) by ctypes: what serving RPC and a smoke test need, without TVM's Python or numpy.

Standard library only, Python 3.5 or newer.
"""

import ctypes
import os

# TVMArgTypeCode of tvm/runtime/c_runtime_api.h: the same numbers from 0.8 to 0.19.
INT, FLOAT, HANDLE, NULL, DLTENSOR, OBJECT, MODULE, FUNCTION, STR, BYTES, ARRAY, BOOL = (
    0,
    2,
    3,
    4,
    7,
    8,
    9,
    10,
    11,
    12,
    13,
    15,
)
DTYPE_CODES = {"int": 0, "uint": 1, "float": 2}
CPU = 1


class TvmError(Exception):
    """TVM refused; the text is its own message."""


class Value(ctypes.Union):
    """TVMValue."""

    _fields_ = [
        ("v_int64", ctypes.c_int64),
        ("v_float64", ctypes.c_double),
        ("v_handle", ctypes.c_void_p),
        ("v_str", ctypes.c_char_p),
    ]


class ByteArray(ctypes.Structure):
    """TVMByteArray."""

    _fields_ = [("data", ctypes.c_void_p), ("size", ctypes.c_size_t)]


PACKED = ctypes.CFUNCTYPE(
    ctypes.c_int,
    ctypes.POINTER(Value),
    ctypes.POINTER(ctypes.c_int),
    ctypes.c_int,
    ctypes.c_void_p,
    ctypes.c_void_p,
)

SIGNATURES = {
    "TVMFuncGetGlobal": [ctypes.c_char_p, ctypes.POINTER(ctypes.c_void_p)],
    "TVMFuncFree": [ctypes.c_void_p],
    "TVMFuncCall": [
        ctypes.c_void_p,
        ctypes.POINTER(Value),
        ctypes.POINTER(ctypes.c_int),
        ctypes.c_int,
        ctypes.POINTER(Value),
        ctypes.POINTER(ctypes.c_int),
    ],
    "TVMFuncCreateFromCFunc": [PACKED, ctypes.c_void_p, ctypes.c_void_p, ctypes.POINTER(ctypes.c_void_p)],
    "TVMFuncRegisterGlobal": [ctypes.c_char_p, ctypes.c_void_p, ctypes.c_int],
    "TVMCFuncSetReturn": [
        ctypes.c_void_p,
        ctypes.POINTER(Value),
        ctypes.POINTER(ctypes.c_int),
        ctypes.c_int,
    ],
    "TVMModLoadFromFile": [ctypes.c_char_p, ctypes.c_char_p, ctypes.POINTER(ctypes.c_void_p)],
    "TVMModFree": [ctypes.c_void_p],
    "TVMObjectFree": [ctypes.c_void_p],
    "TVMArrayAlloc": [ctypes.POINTER(ctypes.c_int64)] + [ctypes.c_int] * 6 + [ctypes.POINTER(ctypes.c_void_p)],
    "TVMArrayFree": [ctypes.c_void_p],
    "TVMArrayCopyFromBytes": [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t],
    "TVMArrayCopyToBytes": [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t],
}


class Handle(object):
    """Something that belongs to TVM and is given back with the last reference."""

    def __init__(self, pointer, code, free):
        self.pointer = pointer
        self.code = code
        self._free = free

    def __del__(self):
        self._free(ctypes.c_void_p(self.pointer))


class Runtime(object):
    """A loaded libtvm_runtime.so."""

    def __init__(self, path):
        """Raises OSError with the linker's own words when the library cannot be loaded."""
        # RTLD_GLOBAL: a model's library looks up the runtime's functions in the process.
        self.library = ctypes.CDLL(path, ctypes.RTLD_GLOBAL)
        self.path = os.path.realpath(path)
        for name, types in SIGNATURES.items():
            function = getattr(self.library, name)  # AttributeError: not TVM 0.8 to 0.19
            function.argtypes, function.restype = types, ctypes.c_int
        self.library.TVMGetLastError.restype = ctypes.c_char_p
        self.library.TVMAPISetLastError.argtypes = [ctypes.c_char_p]
        self.library.TVMAPISetLastError.restype = None
        self._registered = []  # callbacks must outlive their registration

    def has(self, name):
        """Whether there is a global function `name`."""
        return self._global(name) is not None

    def call(self, name, *arguments):
        """The result of the global function `name`. Raises TvmError when it fails or does not exist."""
        function = self._global(name)
        if function is None:
            raise TvmError("this runtime has no function %s" % name)
        kept = []  # what the values point into
        values, codes = (Value * len(arguments))(), (ctypes.c_int * len(arguments))()
        for index, argument in enumerate(arguments):
            codes[index] = _put(values[index], argument, kept)
        result, code = Value(), ctypes.c_int(NULL)
        done = self.library.TVMFuncCall(
            function.pointer, values, codes, len(arguments), ctypes.byref(result), ctypes.byref(code)
        )
        self._check(done)
        return self._take(result, code.value)

    def register(self, name, function):
        """Make `function`, which takes texts, TVM's global function `name`; what it raises becomes TVM's error."""

        def packed(values, codes, count, slot, _resource):
            try:
                texts = [_text(values[index], codes[index]) for index in range(count)]
                self._give(slot, function(*texts))
            except Exception as error:
                message = str(error) if isinstance(error, TvmError) else "%s: %s" % (type(error).__name__, error)
                self.library.TVMAPISetLastError(message.encode("utf-8", "replace"))
                return -1
            return 0

        callback = PACKED(packed)
        handle = ctypes.c_void_p()
        self._check(self.library.TVMFuncCreateFromCFunc(callback, None, None, ctypes.byref(handle)))
        self._check(self.library.TVMFuncRegisterGlobal(name.encode(), handle, 1))
        self._registered.append(callback)

    def load_module(self, path):
        """The module in a shared library. Raises TvmError."""
        handle = ctypes.c_void_p()
        self._check(self.library.TVMModLoadFromFile(path.encode("utf-8"), b"", ctypes.byref(handle)))
        return Handle(handle.value, MODULE, self.library.TVMModFree)

    def array(self, values, kind, bits):
        """A one-dimensional array on the CPU; `values` is an array.array of that type."""
        shape, handle = (ctypes.c_int64 * 1)(len(values)), ctypes.c_void_p()
        code = DTYPE_CODES[kind]
        self._check(self.library.TVMArrayAlloc(shape, 1, code, bits, 1, CPU, 0, ctypes.byref(handle)))
        made = Handle(handle.value, DLTENSOR, self.library.TVMArrayFree)
        address, count = values.buffer_info()
        self._check(self.library.TVMArrayCopyFromBytes(made.pointer, address, count * values.itemsize))
        return made

    def read(self, handle, into):
        """Copy an array's content into the array.array `into`."""
        address, count = into.buffer_info()
        self._check(self.library.TVMArrayCopyToBytes(handle.pointer, address, count * into.itemsize))

    def library_info(self):
        """{option: value} that the library was built with; empty when it does not say."""
        needed = ("support.GetLibInfo", "runtime.MapItems", "runtime.ArraySize", "runtime.ArrayGetItem")
        if not all(self.has(name) for name in needed + ("runtime.GetFFIString",)):
            return {}
        items = self.call("runtime.MapItems", self.call("support.GetLibInfo"))
        count = self.call("runtime.ArraySize", items)
        words = [self.call("runtime.ArrayGetItem", items, index) for index in range(count)]
        texts = [self.call("runtime.GetFFIString", word) for word in words]
        return dict(zip(texts[0::2], texts[1::2]))

    def _global(self, name):
        handle = ctypes.c_void_p()
        self._check(self.library.TVMFuncGetGlobal(name.encode(), ctypes.byref(handle)))
        if not handle.value:
            return None
        return Handle(handle.value, FUNCTION, self.library.TVMFuncFree)

    def _take(self, value, code):
        plain = {INT: "v_int64", BOOL: "v_int64", FLOAT: "v_float64", HANDLE: "v_handle"}
        if code in plain:
            return getattr(value, plain[code])
        if code == NULL:
            return None
        if code == STR:
            return value.v_str.decode("utf-8", "replace")
        if code == BYTES:
            found = ctypes.cast(value.v_handle, ctypes.POINTER(ByteArray)).contents
            return ctypes.string_at(found.data, found.size)
        free = {
            OBJECT: self.library.TVMObjectFree,
            MODULE: self.library.TVMModFree,
            FUNCTION: self.library.TVMFuncFree,
            ARRAY: self.library.TVMArrayFree,
        }
        if code not in free:
            raise TvmError("TVM returned a value of type code %d, which nobody here can read" % code)
        return Handle(value.v_handle, code, free[code])

    def _give(self, slot, result):
        if result is None:
            return
        kept = []
        value, code = Value(), ctypes.c_int()
        code.value = _put(value, result, kept)
        self._check(self.library.TVMCFuncSetReturn(slot, ctypes.byref(value), ctypes.byref(code), 1))

    def _check(self, done):
        if done != 0:
            raise TvmError((self.library.TVMGetLastError() or b"").decode("utf-8", "replace").strip())


def _put(value, argument, kept):
    """Write a Python value into a TVMValue; its type code. `kept` holds the memory that it points into."""
    if isinstance(argument, (bool, int)):
        value.v_int64 = int(argument)
        return INT
    if isinstance(argument, float):
        value.v_float64 = argument
        return FLOAT
    if isinstance(argument, Handle):
        value.v_handle = argument.pointer
        return argument.code
    if isinstance(argument, bytes):
        array = ByteArray(ctypes.cast(ctypes.c_char_p(argument), ctypes.c_void_p), len(argument))
        kept += [argument, array]
        value.v_handle = ctypes.addressof(array)
        return BYTES
    text = argument.encode("utf-8")
    kept.append(text)
    value.v_str = text
    return STR


def _text(value, code):
    if code == STR:
        return value.v_str.decode("utf-8", "replace")
    if code == BYTES:
        found = ctypes.cast(value.v_handle, ctypes.POINTER(ByteArray)).contents
        return ctypes.string_at(found.data, found.size).decode("utf-8", "replace")
    raise TvmError("expected a text, got a value of type code %d" % code)
