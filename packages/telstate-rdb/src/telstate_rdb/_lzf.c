/* LZF for RDB files: telstate_rdb.lzf imports this module where it was compiled.
 *
 * The format is drawn in telstate_rdb.constants. Rules: every read and write is checked against the end of
 * its buffer before it happens; decompressing allocates the size that the caller names and nothing else.
 * Only the stable ABI of CPython 3.11 is used, so one binary serves that and all later versions.
 */

#define Py_LIMITED_API 0x030B0000
#include <Python.h>

#include <stdint.h>
#include <string.h>

#define MAX_LITERAL 32
#define MAX_DISTANCE 8192
#define MAX_COPY 264
#define SHORTEST_COPY 3
#define LONG_COPY 9         /* from here on the length takes a byte of its own */
#define LEAST_SAVING 4      /* bytes, as in Redis */
#define MAX_RATIO (MAX_COPY / 3)
#define MAX_HASH_BITS 14

/* Return what is wrong with `data`, or NULL after it has filled exactly `size` bytes of `out`. */
static const char *
decompress_into(const uint8_t *data, size_t length, uint8_t *out, size_t size)
{
    static const char truncated[] = "compressed data is truncated";
    static const char too_long[] = "compressed data is longer than its string";
    size_t position = 0, done = 0;

    while (position < length) {
        size_t control = data[position++];
        size_t count, distance;

        if (control < MAX_LITERAL) {
            count = control + 1;
            if (count > length - position)
                return truncated;
            if (count > size - done)
                return too_long;
            memcpy(out + done, data + position, count);
            position += count;
            done += count;
            continue;
        }
        count = (control >> 5) + 2;
        if (count == LONG_COPY) {
            if (position == length)
                return truncated;
            count += data[position++];
        }
        if (position == length)
            return truncated;
        distance = ((control & 31) << 8) + data[position++] + 1;
        if (distance > done)
            return "a copy in compressed data points before the start";
        if (count > size - done)
            return too_long;
        if (distance >= count) {
            memcpy(out + done, out + done - distance, count);
            done += count;
        } else { /* it repeats what it writes itself */
            for (; count; count--, done++)
                out[done] = out[done - distance];
        }
    }
    return done == size ? NULL : "compressed data is shorter than its string";
}

static PyObject *
lzf_decompress(PyObject *module, PyObject *args)
{
    Py_buffer data;
    Py_ssize_t size;
    PyObject *string;
    const char *fault;

    if (!PyArg_ParseTuple(args, "y*n:decompress", &data, &size))
        return NULL;
    /* Before anything is allocated: no data grows by more than this factor. */
    if (size < 0 || (size > 0 && (size - 1) / MAX_RATIO >= data.len)) {
        PyErr_Format(PyExc_ValueError, "%zd compressed bytes cannot decompress to %zd", data.len, size);
        PyBuffer_Release(&data);
        return NULL;
    }
    string = PyBytes_FromStringAndSize(NULL, size);
    if (string != NULL) {
        uint8_t *out = (uint8_t *)PyBytes_AsString(string);
        fault = decompress_into(data.buf, (size_t)data.len, out, (size_t)size);
        if (fault != NULL) {
            PyErr_SetString(PyExc_ValueError, fault);
            Py_CLEAR(string);
        }
    }
    PyBuffer_Release(&data);
    return string;
}

/* Write bytes of `data` as literals; return the new length of `out`, or SIZE_MAX if they do not fit. */
static size_t
append_literals(uint8_t *out, size_t used, size_t limit, const uint8_t *data, size_t count)
{
    while (count) {
        size_t run = count < MAX_LITERAL ? count : MAX_LITERAL;

        if (run + 1 > limit - used)
            return SIZE_MAX;
        out[used++] = (uint8_t)(run - 1);
        memcpy(out + used, data, run);
        used += run;
        data += run;
        count -= run;
    }
    return used;
}

/* Compress into `limit` bytes of `out`; return how many were used, or SIZE_MAX if they do not suffice.
 *
 * `table` has the last position of each hash of three bytes, modulo 2**32. A position is only used after its
 * bytes have been compared, so collisions and positions that were never stored do no harm.
 */
static size_t
compress_into(const uint8_t *data, size_t length, uint8_t *out, size_t limit, uint32_t *table, int bits)
{
    size_t position = 0, literal = 0, used = 0;

    while (position + SHORTEST_COPY <= length) {
        const uint8_t *here = data + position;
        uint32_t three = (uint32_t)here[0] << 16 | (uint32_t)here[1] << 8 | here[2];
        uint32_t *entry = table + (three * 2654435761u >> (32 - bits));
        uint32_t distance = (uint32_t)position - *entry;
        size_t count, most, offset;

        *entry = (uint32_t)position;
        if (distance == 0 || distance > MAX_DISTANCE || distance > position ||
            memcmp(here, here - distance, SHORTEST_COPY) != 0) {
            position++;
            continue;
        }
        most = length - position < MAX_COPY ? length - position : MAX_COPY;
        count = SHORTEST_COPY;
        while (count < most && here[count] == (here - distance)[count])
            count++;
        used = append_literals(out, used, limit, data + literal, position - literal);
        if (used == SIZE_MAX || limit - used < 3)
            return SIZE_MAX;
        offset = distance - 1;
        if (count < LONG_COPY) {
            out[used++] = (uint8_t)((count - 2) << 5 | offset >> 8);
        } else {
            out[used++] = (uint8_t)(7 << 5 | offset >> 8);
            out[used++] = (uint8_t)(count - LONG_COPY);
        }
        out[used++] = (uint8_t)(offset & 0xFF);
        position += count;
        literal = position;
    }
    return append_literals(out, used, limit, data + literal, length - literal);
}

static PyObject *
lzf_compress(PyObject *module, PyObject *argument)
{
    Py_buffer data;
    PyObject *packed = NULL;
    uint8_t *out;
    uint32_t *table;
    size_t limit, used;
    int bits = 8;

    if (PyObject_GetBuffer(argument, &data, PyBUF_SIMPLE) < 0)
        return NULL;
    if (data.len <= LEAST_SAVING + 2) {
        PyBuffer_Release(&data);
        Py_RETURN_NONE;
    }
    while (bits < MAX_HASH_BITS && (Py_ssize_t)1 << bits < data.len)
        bits++; /* to clear a large table takes longer than to compress a short string */
    limit = (size_t)data.len - LEAST_SAVING;
    table = PyMem_Calloc((size_t)1 << bits, sizeof *table);
    out = PyMem_Malloc(limit);
    if (table == NULL || out == NULL) {
        PyErr_NoMemory();
    } else {
        used = compress_into(data.buf, (size_t)data.len, out, limit, table, bits);
        if (used == SIZE_MAX) {
            packed = Py_None;
            Py_INCREF(packed);
        } else {
            packed = PyBytes_FromStringAndSize((char *)out, (Py_ssize_t)used);
        }
    }
    PyMem_Free(table);
    PyMem_Free(out);
    PyBuffer_Release(&data);
    return packed;
}

static PyMethodDef methods[] = {
    {"decompress", lzf_decompress, METH_VARARGS,
     "decompress(data, size)\n--\n\nReturn the string of `size` bytes, or raise ValueError with a reason."},
    {"compress", lzf_compress, METH_O,
     "compress(data, /)\n--\n\nReturn LZF data, or None if it is not at least four bytes shorter."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {{0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "telstate_rdb._lzf",
    .m_doc = "LZF compression in C.",
    .m_size = 0,
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC
PyInit__lzf(void)
{
    return PyModuleDef_Init(&definition);
}
