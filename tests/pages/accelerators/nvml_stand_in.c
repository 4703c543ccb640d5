/* A stand-in for NVIDIA's management library: what pynvml calls, answered as STAND_IN says. No driver behind it.
   Without STAND_IN it is one GPU, and the driver is loaded where the kernel says so. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct { char legacy[16]; unsigned domain, bus, device, id, subsystem; char address[32]; } Pci;
typedef struct { unsigned long long total, free, used; } Memory;
typedef struct { unsigned pid; unsigned long long used; unsigned instance, compute; } Process;
typedef struct { unsigned version; unsigned char cluster[16]; int status; unsigned clique, state, health; } Fabric;

static int is(const char *word) { const char *now = getenv("STAND_IN"); return now && !strcmp(now, word); }
static int alone(void) { return is("one") || !getenv("STAND_IN"); }
static long index_of(void *gpu) { return (long)gpu - 1; }

int nvmlInitWithFlags(unsigned flags) {
    if (is("mismatch")) return 18;
    if (is("not-loaded") || (!getenv("STAND_IN") && access("/sys/module/nvidia/version", F_OK))) return 9;
    if (is("hang")) for (;;) pause();
    if (is("crash")) abort();
    return 0;
}
int nvmlShutdown(void) { return 0; }
const char *nvmlErrorString(int code) { return code == 18 ? "Driver/library version mismatch" : "Driver Not Loaded"; }
int nvmlSystemGetDriverVersion(char *text, unsigned size) { snprintf(text, size, "580.95.05"); return 0; }
int nvmlSystemGetCudaDriverVersion(int *number) { *number = 13000; return 0; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = alone() ? 1 : 8; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **gpu) {
    if (is("lost") && index == 3) return 15;
    *gpu = (void *)((long)index + 1);
    return 0;
}
int nvmlDeviceGetPciInfo_v3(void *gpu, Pci *info) {
    memset(info, 0, sizeof *info);
    snprintf(info->address, sizeof info->address, "00000000:%02lX:00.0", 0x17 + index_of(gpu));
    return 0;
}
int nvmlDeviceGetName(void *gpu, char *text, unsigned size) { snprintf(text, size, "NVIDIA H100 80GB HBM3"); return 0; }
int nvmlDeviceGetUUID(void *gpu, char *text, unsigned size) {
    snprintf(text, size, "%s-%ld", index_of(gpu) > 999 ? "MIG" : "GPU", index_of(gpu));
    return 0;
}
int nvmlDeviceGetMemoryInfo(void *gpu, Memory *memory) {
    memory->total = 85520809984ULL;
    memory->used = index_of(gpu) ? 0 : 3ULL << 30;
    memory->free = memory->total - memory->used;
    return 0;
}
int nvmlDeviceGetComputeRunningProcesses_v3(void *gpu, unsigned *count, Process *found) {
    unsigned room = *count;
    *count = index_of(gpu) ? 0 : 2;
    if (room < *count) return 7;
    if (*count) {
        found[0] = (Process){4242, 2ULL << 30, 0xffffffff, 0xffffffff};
        found[1] = (Process){4343, 0xffffffffffffffffULL, 0xffffffff, 0xffffffff};  /* not known */
    }
    return 0;
}
int nvmlDeviceGetMigMode(void *gpu, unsigned *now, unsigned *then) {
    if (alone()) return 3;
    *now = is("mig");
    *then = is("mig") || is("mig-pending");
    return 0;
}
int nvmlDeviceGetMaxMigDeviceCount(void *gpu, unsigned *count) { *count = 7; return 0; }
int nvmlDeviceGetMigDeviceHandleByIndex(void *gpu, unsigned index, void **slice) {
    if (index > 1) return 6;
    *slice = (void *)(1001 + index_of(gpu) * 7 + index);
    return 0;
}
int nvmlDeviceGetEccMode(void *gpu, int *now, int *then) { if (alone()) return 3; *now = *then = 1; return 0; }
int nvmlDeviceGetTotalEccErrors(void *gpu, int kind, int counter, unsigned long long *count) {
    *count = is("ecc") && index_of(gpu) == 2 ? 4 : 0;
    return 0;
}
int nvmlDeviceGetPersistenceMode(void *gpu, int *mode) { *mode = 1; return 0; }
int nvmlDeviceGetRemappedRows(void *gpu, unsigned *right, unsigned *wrong, unsigned *pending, unsigned *failed) {
    *right = *wrong = *failed = 0;
    *pending = is("ecc") && index_of(gpu) == 2;
    return 0;
}
int nvmlDeviceGetGpuFabricInfoV(void *gpu, Fabric *info) {
    if (alone()) return 3;
    info->status = 0;
    info->state = is("fabric") ? 1 : 3;
    return 0;
}
