/* Walking the strings of a table: telstate_rdb.lazy imports this module where it was compiled.
 *
 * The forms of lengths and strings are drawn in telstate_rdb.constants. Rules: every read is checked against
 * the end of the buffer before it happens; nothing is ever found wrong here: at anything unusual the walk ends,
 * and the caller reads that string and raises the errors. Only the stable ABI of CPython 3.11 is used, and no
 * format with a "#": what CPython 3.13 compiles of it fails on 3.12 and before.
 */

#define Py_LIMITED_API 0x030B0000
#include <Python.h>

#include <stdint.h>
#include <string.h>

#define HEAD 16             /* the bytes of a string that are compared at first */
#define COMPRESSED_HEAD 64  /* compressed bytes that hold at least so many, in all but artificial data */
#define SHORT_SIZE 0x3f     /* the longest string whose length is one byte */
#define MAX_LITERAL 32
#define LONG_COPY 9         /* from here on the length of a copy in compressed data takes a byte of its own */

enum { DESCENDING = -1, NO_ORDER_YET = 0, ASCENDING = 1, NO_ORDER = 2 };

/* A string: its beginning, filled up with zeros, its size, and all of it if it is in the buffer as it is. */
typedef struct {
    uint8_t head[HEAD];
    uint64_t size;
    const uint8_t *whole;
} string;

static uint64_t
big_endian(const uint8_t *data)
{
    uint64_t number = 0;
    int i;

    for (i = 0; i < 8; i++) /* compilers make one instruction of it */
        number = number << 8 | data[i];
    return number;
}

/* Read a length at `*position`; return 0 if it is not one, or is not complete. */
static int
read_length(const uint8_t *data, size_t end, size_t *position, uint64_t *length)
{
    size_t at = *position, size, i;
    uint8_t first;

    if (at >= end)
        return 0;
    first = data[at++];
    if (first < 0x40) {
        *length = first;
    } else if (first < 0x80) {
        if (at == end)
            return 0;
        *length = (uint64_t)(first & 0x3f) << 8 | data[at++];
    } else if (first == 0x80 || first == 0x81) {
        size = first == 0x80 ? 4 : 8;
        if (end - at < size)
            return 0;
        for (*length = 0, i = 0; i < size; i++)
            *length = *length << 8 | data[at++];
    } else {
        return 0;
    }
    *position = at;
    return 1;
}

/* Decompress up to `size` bytes of what `length` bytes of LZF data hold; return how many. */
static size_t
decompress_head(const uint8_t *data, size_t length, uint8_t *out, size_t size)
{
    size_t position = 0, done = 0;

    while (done < size && position < length) {
        size_t control = data[position++];
        size_t count, distance;

        if (control < MAX_LITERAL) {
            for (count = control + 1; count && position < length && done < size; count--)
                out[done++] = data[position++];
            continue;
        }
        count = (control >> 5) + 2;
        if (count == LONG_COPY) {
            if (position == length)
                break;
            count += data[position++];
        }
        if (position == length)
            break;
        distance = ((control & 31) << 8) + data[position++] + 1;
        if (distance > done)
            break;
        for (; count && done < size; count--, done++)
            out[done] = out[done - distance];
    }
    return done;
}

/* Return the order of two strings, NO_ORDER if they are equal or may be. */
static int
order_of(const string *first, const string *second)
{
    int result = memcmp(second->head, first->head, HEAD);

    if (result == 0 && first->size > HEAD && second->size > HEAD) {
        if (first->whole == NULL || second->whole == NULL)
            return NO_ORDER;
        result = memcmp(second->whole, first->whole, first->size < second->size ? first->size : second->size);
    }
    if (result == 0)
        result = (second->size > first->size) - (second->size < first->size);
    return result > 0 ? ASCENDING : result < 0 ? DESCENDING : NO_ORDER;
}

/* Walk short strings, each followed by the same bytes, whose first 8 bytes are in strict order, as nearly all
 * samples are; return how many. `*last` is the string before them, and then the last of them.
 */
static Py_ssize_t
walk_short(const uint8_t *data, size_t end, size_t *position, Py_ssize_t wanted, const uint8_t *tail,
           size_t tail_size, int order, const uint8_t **last)
{
    uint64_t previous = big_endian(*last), expected = 0, mask = 0;
    Py_ssize_t walked = 0;
    size_t at = *position;

    memcpy(&expected, tail, tail_size);
    memset(&mask, 0xff, tail_size);
    while (walked < wanted && end - at > SHORT_SIZE + sizeof expected) {
        size_t size = data[at];
        uint64_t first, found;

        if (size < 8 || size > SHORT_SIZE)
            break;
        first = big_endian(data + at + 1);
        memcpy(&found, data + at + 1 + size, sizeof found);
        if (((found ^ expected) & mask) ||
            (order == ASCENDING ? first <= previous : order == DESCENDING && first >= previous))
            break;
        previous = first;
        *last = data + at + 1;
        at += 1 + size + tail_size;
        walked++;
    }
    *position = at;
    return walked;
}

/* Take the string at `*position`, as far as it is in the buffer; return 0 if it is unusual.
 *
 * `*position` is then that of its body, and `*size` the size of that, which may go beyond the buffer.
 */
static int
take_string(const uint8_t *data, size_t end, size_t *position, uint64_t *size, int is_trusted, int *order,
            string *here)
{
    uint8_t form = data[*position];

    memset(here, 0, sizeof *here);
    if (form < 0xc0) {
        if (!read_length(data, end, position, size) || end - *position < (*size < HEAD ? *size : HEAD))
            return 0;
        here->size = *size;
        memcpy(here->head, data + *position, *size < HEAD ? *size : HEAD);
        if (end - *position >= *size)
            here->whole = data + *position;
    } else if (form <= 0xc2) {
        ++*position;
        *size = (uint64_t)1 << (form & 3);
        *order = NO_ORDER; /* no sample is a number, so its text is not worth making */
    } else if (form == 0xc3 && is_trusted) {
        size_t length;

        ++*position;
        if (!read_length(data, end, position, size) || !read_length(data, end, position, &here->size))
            return 0;
        length = end - *position < *size ? end - *position : (size_t)*size;
        if (length < *size && length < COMPRESSED_HEAD)
            return 0;
        if (decompress_head(data + *position, length, here->head, HEAD) < (here->size < HEAD ? here->size : HEAD))
            *order = NO_ORDER;
    } else {
        return 0;
    }
    return 1;
}

static PyObject *
walk(PyObject *module, PyObject *args)
{
    Py_buffer buffer, tail, head;
    Py_ssize_t start, wanted, walked = 0, last_start = -1;
    unsigned long long previous_size, rest = 0;
    int order, is_trusted, is_uniform = 1;
    const uint8_t *data;
    size_t position, end, tail_size, head_size;
    string previous;
    PyObject *result;

    if (!PyArg_ParseTuple(args, "y*nny*y*Kip:walk", &buffer, &start, &wanted, &tail, &head, &previous_size,
                          &order, &is_trusted))
        return NULL;
    data = buffer.buf;
    end = (size_t)buffer.len;
    tail_size = (size_t)tail.len;
    head_size = (size_t)head.len;
    position = start < 0 || start > buffer.len ? end : (size_t)start;
    memset(&previous, 0, sizeof previous);
    memcpy(previous.head, head.buf, head_size < HEAD ? head_size : HEAD);
    previous.size = previous_size;
    while (walked < wanted && position < end) {
        string here;
        uint64_t size;
        size_t at = position;

        if (previous.whole != NULL && previous.size >= 8 && tail_size <= 8 && order != NO_ORDER_YET) {
            const uint8_t *last = previous.whole;
            Py_ssize_t count = walk_short(data, end, &position, wanted - walked, tail.buf, tail_size, order, &last);

            if (count) {
                memset(&previous, 0, sizeof previous);
                previous.size = last[-1];
                previous.whole = last;
                memcpy(previous.head, last, previous.size < HEAD ? previous.size : HEAD);
                last_start = last - 1 - data;
                walked += count;
                continue;
            }
        }
        if (!take_string(data, end, &at, &size, is_trusted, &order, &here))
            break;
        if (end - at >= size) {
            if (end - at - size < tail_size)
                break;
            if (memcmp(data + at + size, tail.buf, tail_size) != 0) {
                is_uniform = 0;
                break;
            }
        }
        if (order != NO_ORDER && head_size) {
            int found = order_of(&previous, &here);

            order = order == NO_ORDER_YET || order == found ? found : NO_ORDER;
        }
        previous = here;
        head_size = HEAD;
        last_start = (Py_ssize_t)position;
        walked++;
        if (end - at < size) {
            rest = size - (end - at);
            position = end;
        } else {
            position = at + (size_t)size + tail_size;
        }
    }
    result = Py_BuildValue("nnnKiiNK", (Py_ssize_t)position, walked, last_start, rest, is_uniform, order,
                           PyBytes_FromStringAndSize((const char *)previous.head, head_size ? HEAD : 0),
                           (unsigned long long)previous.size);
    PyBuffer_Release(&buffer);
    PyBuffer_Release(&tail);
    PyBuffer_Release(&head);
    return result;
}

static PyMethodDef methods[] = {
    {"walk", walk, METH_VARARGS,
     "walk(buffer, position, count, tail, head, size, order, is_trusted)\n--\n\n"
     "Walk up to `count` strings, each followed by `tail`.\n\n"
     "`head`, `size` and `order` are what the last call returned, at first b\"\", 0 and 0. Returns where the walk\n"
     "ended, how many strings it passed, where the last one begins, how many bytes of it are beyond the\n"
     "buffer (its tail is not compared then), whether it did not end at another tail, the order of all strings (1\n"
     "ascending, -1 descending, 0 not known yet, 2 neither), and the beginning and the size of the last one."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {{0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "telstate_rdb._walk",
    .m_doc = "Walking the strings of a table.",
    .m_size = 0,
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC
PyInit__walk(void)
{
    return PyModuleDef_Init(&definition);
}
