/* Plays NVIDIA's library (nvml.h): says what the file named by ELEMENT_FAKE_NVML says, read anew at
 * each call, and adds a line to <file>.calls for each. A line of the file is one of
 *   device UTILIZATION_PERCENT USED_BYTES SIZE_BYTES NAME…
 *   process PID USED_BYTES(-1: not told) BUSY_PERCENT compute|graphics|both   (of the device above)
 *   fail FUNCTION CODE
 *   hang FUNCTION                         (for as long as the file says so)
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

typedef struct { unsigned gpu, memory; } utilization_t;
typedef struct { unsigned long long total, free, used; } memory_t;
typedef struct { unsigned pid; unsigned long long used; unsigned gpu_instance, compute_instance; } process_t;
typedef struct { unsigned pid; unsigned long long at; unsigned sm, memory, encoder, decoder; } sample_t;
typedef struct { unsigned pid; long long used; unsigned busy; char lists[16]; } use_t;
typedef struct { unsigned utilization; unsigned long long used, size; char name[96]; unsigned count; use_t uses[64]; } device_t;

static device_t devices[16];
static unsigned count;

static int hangs(const char *path, const char *function)
{
    char line[512], word[96];
    int found = 0;
    FILE *file = fopen(path, "r");
    if (!file) return 0;
    while (fgets(line, sizeof line, file))
        if (sscanf(line, "hang %95s", word) == 1 && !strcmp(word, function)) found = 1;
    fclose(file);
    return found;
}

static int look(const char *function)
{
    char line[512], word[96];
    int code, answer = 0;
    const char *path = getenv("ELEMENT_FAKE_NVML");
    FILE *file;
    if (!path) return 9; /* NVML_ERROR_DRIVER_NOT_LOADED */
    snprintf(line, sizeof line, "%s.calls", path);
    if ((file = fopen(line, "a"))) { fprintf(file, "%s\n", function); fclose(file); }
    while (hangs(path, function)) usleep(20000);
    if (!(file = fopen(path, "r"))) return 9;
    count = 0;
    while (fgets(line, sizeof line, file)) {
        device_t *device = &devices[count];
        if (sscanf(line, "device %u %llu %llu %95[^\n]", &device->utilization, &device->used, &device->size, device->name) == 4) {
            device->count = 0;
            count++;
        } else if (count && (device = &devices[count - 1])->count < 64) {
            use_t *use = &device->uses[device->count];
            if (sscanf(line, "process %u %lld %u %15s", &use->pid, &use->used, &use->busy, use->lists) == 4) device->count++;
        }
        if (sscanf(line, "fail %95s %d", word, &code) == 2 && !strcmp(word, function)) answer = code;
    }
    fclose(file);
    return answer;
}

#define LOOK() do { int code_ = look(__func__); if (code_) return code_; } while (0)

int nvmlInitWithFlags(unsigned flags) { LOOK(); return 0; }
int nvmlShutdown(void) { LOOK(); return 0; }
const char *nvmlErrorString(int code) { return code == 15 ? "GPU is lost" : "fake failure"; }
int nvmlDeviceGetCount_v2(unsigned *out) { LOOK(); *out = count; return 0; }

int nvmlDeviceGetHandleByIndex_v2(unsigned index, device_t **out)
{
    LOOK();
    if (index >= count) return 2;
    *out = &devices[index];
    return 0;
}

int nvmlDeviceGetName(device_t *device, char *out, unsigned size) { LOOK(); snprintf(out, size, "%s", device->name); return 0; }

int nvmlDeviceGetUtilizationRates(device_t *device, utilization_t *out)
{
    LOOK();
    out->gpu = device->utilization;
    out->memory = 0;
    return 0;
}

int nvmlDeviceGetMemoryInfo(device_t *device, memory_t *out)
{
    LOOK();
    out->total = device->size;
    out->used = device->used;
    out->free = device->size - device->used;
    return 0;
}

static int list(device_t *device, const char *which, unsigned *size, process_t *out)
{
    unsigned found = 0, room = *size;
    for (unsigned i = 0; i < device->count; i++) {
        use_t *use = &device->uses[i];
        if (strcmp(use->lists, which) && strcmp(use->lists, "both")) continue;
        if (found < room && out) {
            out[found].pid = use->pid;
            out[found].used = (unsigned long long)use->used;
            out[found].gpu_instance = out[found].compute_instance = 0xFFFFFFFF;
        }
        found++;
    }
    *size = found;
    return found > room ? 7 : 0; /* NVML_ERROR_INSUFFICIENT_SIZE */
}

int nvmlDeviceGetComputeRunningProcesses_v3(device_t *device, unsigned *size, process_t *out)
{
    LOOK();
    return list(device, "compute", size, out);
}

int nvmlDeviceGetGraphicsRunningProcesses_v3(device_t *device, unsigned *size, process_t *out)
{
    LOOK();
    return list(device, "graphics", size, out);
}

int nvmlDeviceGetProcessUtilization(device_t *device, sample_t *out, unsigned *size, unsigned long long since)
{
    struct timespec now;
    LOOK();
    if (!out) { *size = 100; return 7; } /* as the real one, which says how many it keeps */
    clock_gettime(CLOCK_REALTIME, &now);
    if (!device->count) return 6; /* NVML_ERROR_NOT_FOUND */
    memset(out, 0, *size * sizeof *out);
    *size = device->count;
    for (unsigned i = 0; i < device->count; i++) {
        out[i].pid = device->uses[i].pid;
        out[i].at = (unsigned long long)now.tv_sec * 1000000 + now.tv_nsec / 1000;
        out[i].sm = device->uses[i].busy;
    }
    return 0;
}
