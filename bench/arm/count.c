/* A plugin of QEMU (interface version 1) that counts the instructions that a program executes; it prints them at the end.
 *
 * What it uses of qemu-plugin.h is declared here, as Debian's qemu-user comes without the header.
 */
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>

typedef uint64_t plugin_id;
struct translation_block;
struct information;
enum operation { ADD_U64 };

extern void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, struct translation_block *));
extern size_t qemu_plugin_tb_n_insns(const struct translation_block *);
extern void qemu_plugin_register_vcpu_tb_exec_inline(struct translation_block *, enum operation, void *, uint64_t);
extern void qemu_plugin_register_atexit_cb(plugin_id, void (*)(plugin_id, void *), void *);

#define EXPORT __attribute__((visibility("default")))
EXPORT int qemu_plugin_version = 1;

static uint64_t executed;

static void translated(plugin_id id, struct translation_block *block)
{
    (void)id;
    qemu_plugin_register_vcpu_tb_exec_inline(block, ADD_U64, &executed, qemu_plugin_tb_n_insns(block));
}

static void ended(plugin_id id, void *data)
{
    (void)id, (void)data;
    fprintf(stderr, "\ninstructions: %" PRIu64 "\n", executed);
}

EXPORT int qemu_plugin_install(plugin_id id, const struct information *information, int count, char **arguments)
{
    (void)information, (void)count, (void)arguments;
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_atexit_cb(id, ended, NULL);
    return 0;
}
