/* The floor: what any recorder of the same events pays, a C callback that does nothing.
 *
 * It watches what our recorder watches: starts, resumes, throws and unwinds everywhere, lines, returns and yields of
 * the code of one file. Code of other files answers DISABLE. Whether a code object is in scope is asked once and kept
 * in its co_extra slot, as a recorder would keep it.
 *
 *   floor.install(path, lines)    floor.uninstall()
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

enum { UNKNOWN = 0, IN_SCOPE = 1, ELSEWHERE = 2 };

static Py_ssize_t slot = -1;
static PyObject *monitoring, *disable, *set_local_events, *scope, *tool, *local_events;

static int decide(PyObject *code)
{
    PyObject *path = ((PyCodeObject *)code)->co_filename;
    int in_scope = PyUnicode_Compare(path, scope) == 0;
    if (in_scope) {
        PyObject *done = PyObject_CallFunctionObjArgs(set_local_events, tool, code, local_events, NULL);
        if (!done)
            return -1;
        Py_DECREF(done);
    }
    int where = in_scope ? IN_SCOPE : ELSEWHERE;
    return PyUnstable_Code_SetExtra(code, slot, (void *)(intptr_t)where) < 0 ? -1 : where;
}

static inline int where_is(PyObject *code)
{
    void *known = NULL;
    if (PyUnstable_Code_GetExtra(code, slot, &known) < 0)
        return -1;
    return known ? (int)(intptr_t)known : decide(code);
}

/* PY_START, PY_RESUME */
static PyObject *enter(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    switch (where_is(args[0])) {
    case IN_SCOPE:
        Py_RETURN_NONE;
    case ELSEWHERE:
        return Py_NewRef(disable);
    default:
        return NULL;
    }
}

/* everything else: on for code in scope only, or not to be disabled */
static PyObject *nothing(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    Py_RETURN_NONE;
}

static PyMethodDef callbacks[] = {
    {"enter", (PyCFunction)(void (*)(void))enter, METH_FASTCALL, NULL},
    {"nothing", (PyCFunction)(void (*)(void))nothing, METH_FASTCALL, NULL},
};

static const char *const watched[] = {"PY_START", "PY_RESUME", "PY_THROW", "PY_UNWIND", "PY_RETURN", "PY_YIELD", "LINE"};

static long event(const char *name)
{
    PyObject *events = PyObject_GetAttrString(monitoring, "events");
    PyObject *bit = events ? PyObject_GetAttrString(events, name) : NULL;
    long value = bit ? PyLong_AsLong(bit) : -1;
    Py_XDECREF(events);
    Py_XDECREF(bit);
    return value;
}

static int registered(int on)
{
    for (size_t i = 0; i < sizeof watched / sizeof *watched; i++) {
        PyObject *callback = on ? PyCFunction_New(&callbacks[i < 2 ? 0 : 1], NULL) : Py_NewRef(Py_None);
        PyObject *old = callback
            ? PyObject_CallMethod(monitoring, "register_callback", "OlO", tool, event(watched[i]), callback)
            : NULL;
        Py_XDECREF(callback);
        if (!old)
            return -1;
        Py_DECREF(old);
    }
    return 0;
}

static int set_events(long bits)
{
    PyObject *done = PyObject_CallMethod(monitoring, "set_events", "Ol", tool, bits);
    Py_XDECREF(done);
    return done ? 0 : -1;
}

static PyObject *install(PyObject *self, PyObject *args)
{
    PyObject *path;
    int lines;
    if (!PyArg_ParseTuple(args, "Up:install", &path, &lines))
        return NULL;
    Py_XSETREF(scope, Py_NewRef(path));
    long local = event("PY_RETURN") | event("PY_YIELD") | (lines ? event("LINE") : 0);
    Py_XSETREF(local_events, PyLong_FromLong(local));
    PyObject *done = PyObject_CallMethod(monitoring, "use_tool_id", "Os", tool, "floor");
    Py_XDECREF(done);
    if (!local_events || !done || registered(1) < 0)
        return NULL;
    if (set_events(event("PY_START") | event("PY_RESUME") | event("PY_THROW") | event("PY_UNWIND")) < 0)
        return NULL;
    Py_RETURN_NONE;
}

/* Local events stay set where they are; without callbacks and tool they reach nobody. */
static PyObject *uninstall(PyObject *self, PyObject *args)
{
    if (set_events(0) < 0 || registered(0) < 0)
        return NULL;
    return PyObject_CallMethod(monitoring, "free_tool_id", "O", tool);
}

static PyMethodDef methods[] = {
    {"install", install, METH_VARARGS, "Calls back for everything in the file PATH; LINES: for each line, too."},
    {"uninstall", uninstall, METH_NOARGS, "Stops it."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "floor", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit_floor(void)
{
    monitoring = PySys_GetObject("monitoring");
    slot = PyUnstable_Eval_RequestCodeExtraIndex(NULL);
    tool = PyLong_FromLong(3);
    if (!Py_XNewRef(monitoring) || slot < 0 || !tool)
        return NULL;
    disable = PyObject_GetAttrString(monitoring, "DISABLE");
    set_local_events = PyObject_GetAttrString(monitoring, "set_local_events");
    return disable && set_local_events ? PyModule_Create(&module) : NULL;
}
