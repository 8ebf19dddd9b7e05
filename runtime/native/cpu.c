/* What the processor and the operating system support, by LLVM's feature names. */
#define _GNU_SOURCE
#include <stddef.h>

#include "sparsec.h"

static const char *const NAMES[] = {
    "sse4.2", "avx",      "avx2",     "fma",        "f16c",       "bmi",           "bmi2",       "lzcnt",      "movbe",
    "popcnt", "avx512f",  "avx512bw", "avx512cd",   "avx512dq",   "avx512vl",      "avx512vnni", "avx512bf16", "avx512vbmi",
    "avxvnni", "avx512vbmi2", "avx512bitalg", "avx512vpopcntdq", "avx512fp16", "neon",
    "amx-tile", "amx-int8", "amx-bf16", "dotprod", "i8mm", "fullfp16",
};

enum bit {
    SSE42, AVX, AVX2, FMA, F16C, BMI, BMI2, LZCNT, MOVBE,
    POPCNT, AVX512F, AVX512BW, AVX512CD, AVX512DQ, AVX512VL, AVX512VNNI, AVX512BF16, AVX512VBMI,
    AVXVNNI, AVX512VBMI2, AVX512BITALG, AVX512VPOPCNTDQ, AVX512FP16, NEON,
    AMX_TILE, AMX_INT8, AMX_BF16, DOTPROD, I8MM, FULLFP16,
};

const char *sparsec_cpu_feature_name(int64_t bit)
{
    return bit >= 0 && bit < (int64_t)(sizeof NAMES / sizeof NAMES[0]) ? NAMES[bit] : NULL;
}

#if defined(__x86_64__)

#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

/* The register states that the operating system saves: without them the instructions fault although cpuid lists them. */
static uint64_t saved_states(void)
{
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

static uint64_t when(uint32_t reg, int position, enum bit bit)
{
    return (uint64_t)(reg >> position & 1) << bit;
}

/* Tile registers are 8 KiB a thread: a process may use them only once it has asked. */
static int may_use_tiles(uint64_t states)
{
    if ((states & 0x60000) != 0x60000) return 0;
#if defined(__linux__)
    const long request_permission = 0x1023, tile_data = 18; /* ARCH_REQ_XCOMP_PERM and XFEATURE_XTILEDATA of asm/prctl.h */
    return syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
#else
    return 0;
#endif
}

uint64_t sparsec_cpu_features(void)
{
    uint32_t eax, ebx, ecx, edx;
    if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx)) return 0;
    uint64_t found = when(ecx, 20, SSE42) | when(ecx, 23, POPCNT) | when(ecx, 22, MOVBE);
    uint64_t states = ecx >> 27 & 1 ? saved_states() : 0;
    int ymm = (states & 0x6) == 0x6, zmm = (states & 0xe6) == 0xe6;
    if (ymm) found |= when(ecx, 28, AVX) | when(ecx, 12, FMA) | when(ecx, 29, F16C);
    uint32_t most = 0;
    if (__get_cpuid_count(7, 0, &most, &ebx, &ecx, &edx)) {
        found |= when(ebx, 3, BMI) | when(ebx, 8, BMI2);
        if (ymm) found |= when(ebx, 5, AVX2);
        if (zmm) {
            found |= when(ebx, 16, AVX512F) | when(ebx, 17, AVX512DQ) | when(ebx, 28, AVX512CD) | when(ebx, 30, AVX512BW);
            found |= when(ebx, 31, AVX512VL) | when(ecx, 1, AVX512VBMI) | when(ecx, 6, AVX512VBMI2);
            found |= when(ecx, 11, AVX512VNNI) | when(ecx, 12, AVX512BITALG) | when(ecx, 14, AVX512VPOPCNTDQ);
            found |= when(edx, 23, AVX512FP16);
        }
        if (edx >> 24 & 1 && may_use_tiles(states)) {
            found |= when(edx, 24, AMX_TILE) | when(edx, 25, AMX_INT8) | when(edx, 22, AMX_BF16);
        }
    }
    if (most >= 1 && __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx)) {
        if (ymm) found |= when(eax, 4, AVXVNNI);
        if (zmm) found |= when(eax, 5, AVX512BF16);
    }
    if (__get_cpuid(0x80000001, &eax, &ebx, &ecx, &edx)) found |= when(ecx, 5, LZCNT);
    return found;
}

#elif defined(__aarch64__)

/* NEON is part of the base architecture; what came later, only the operating system may read, and says what it supports. */
#if defined(__APPLE__)

#include <sys/sysctl.h>

static uint64_t when(const char *name, enum bit bit)
{
    int has = 0;
    size_t bytes = sizeof has;
    return (uint64_t)(sysctlbyname(name, &has, &bytes, NULL, 0) == 0 && has) << bit;
}

uint64_t sparsec_cpu_features(void)
{
    return (uint64_t)1 << NEON | when("hw.optional.arm.FEAT_DotProd", DOTPROD) | when("hw.optional.arm.FEAT_I8MM", I8MM) |
           when("hw.optional.arm.FEAT_FP16", FULLFP16);
}

#elif defined(__linux__)

#include <sys/auxv.h>

static uint64_t when(unsigned long word, int position, enum bit bit)
{
    return (uint64_t)(word >> position & 1) << bit;
}

/* The positions are HWCAP_ASIMDDP, HWCAP_ASIMDHP and HWCAP2_I8MM of asm/hwcap.h, which may be older. */
uint64_t sparsec_cpu_features(void)
{
    const unsigned long first = getauxval(AT_HWCAP), second = getauxval(AT_HWCAP2);
    return (uint64_t)1 << NEON | when(first, 20, DOTPROD) | when(second, 13, I8MM) | when(first, 10, FULLFP16);
}

#else

uint64_t sparsec_cpu_features(void)
{
    return (uint64_t)1 << NEON;
}

#endif

#else

uint64_t sparsec_cpu_features(void)
{
    return 0;
}

#endif
