/* Every input of a text file once through one target, for those who have no libFuzzer: replay NAME FILE. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int fuzz_bits(const uint8_t *data, size_t size);
int fuzz_encode(const uint8_t *data, size_t size);
int fuzz_hint(const uint8_t *data, size_t size);
int fuzz_mask(const uint8_t *data, size_t size);
int fuzz_residues(const uint8_t *data, size_t size);
int fuzz_rlwe(const uint8_t *data, size_t size);
int fuzz_shamir(const uint8_t *data, size_t size);

static const struct {
    const char *name;
    int (*run)(const uint8_t *data, size_t size);
} targets[] = {{"bits", fuzz_bits}, {"encode", fuzz_encode}, {"hint", fuzz_hint},
               {"mask", fuzz_mask}, {"residues", fuzz_residues}, {"rlwe", fuzz_rlwe}, {"shamir", fuzz_shamir}};

/* Lines of up to 100,000 characters: two digits a byte, up to # or the end; a dash alone is an input without bytes. */
int main(int argc, char **argv)
{
    static char line[100002];
    size_t which = 0, count = 0;
    FILE *const file = argc == 3 ? fopen(argv[2], "r") : NULL;
    while (argc == 3 && which < sizeof targets / sizeof *targets && strcmp(targets[which].name, argv[1]) != 0)
        which++;
    if (file == NULL || which == sizeof targets / sizeof *targets) {
        fprintf(stderr, "usage: replay TARGET FILE\n");
        return 2;
    }
    while (fgets(line, sizeof line, file) != NULL) {
        line[strcspn(line, "# \n")] = 0;
        if (line[0] == 0)
            continue;
        const size_t size = line[0] == '-' ? 0 : strlen(line) / 2;
        uint8_t *const data = malloc(size + (size == 0));
        unsigned byte;
        for (size_t i = 0; i < size; i++) {
            if (sscanf(line + 2 * i, "%2x", &byte) != 1)
                return 2;
            data[i] = (uint8_t)byte;
        }
        targets[which].run(data, size);
        free(data);
        count++;
    }
    fclose(file);
    printf("%zu\n", count);
    return 0;
}
