// Included before every file of a build: whatever a model prints ($display, $error, a failing
// assertion) goes to the shell's bounded log instead of the host process's standard output.
#pragma once
#ifdef __cplusplus
extern "C"
#endif
    int
    haltere_printf(const char* format, ...) __attribute__((format(printf, 1, 2)));
#define VL_PRINTF haltere_printf
