/* Opens TVM's runtime and calls two of its functions by way of the C API of 0.8 to 0.19. */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>

typedef union {
  int64_t v_int64;
  double v_float64;
  void *v_handle;
} Value;

typedef int (*GetGlobal)(const char *, void **);
typedef int (*Call)(void *, Value *, int *, int, Value *, int *);

int main(int count, char **arguments) {
  void *library = count == 2 ? dlopen(arguments[1], RTLD_NOW | RTLD_GLOBAL) : NULL;
  if (!library) {
    fprintf(stderr, "%s\n", dlerror());
    return 1;
  }
  GetGlobal get = (GetGlobal)dlsym(library, "TVMFuncGetGlobal");
  Call call = (Call)dlsym(library, "TVMFuncCall");
  void *sort = NULL, *attribute = NULL;
  if (!get || !call || get("tvm.contrib.sort.argsort", &sort) || get("runtime.GetDeviceAttr", &attribute)) return 2;
  /* device type 1 (CPU), number 0, attribute 0: is it there? */
  Value values[3] = {{1}, {0}, {0}}, answer = {0};
  int codes[3] = {0, 0, 0}, code = 4;
  if (!attribute || call(attribute, values, codes, 3, &answer, &code)) return 3;
  printf("argsort %s cpu %d\n", sort ? "yes" : "no", (int)answer.v_int64);
  return 0;
}
