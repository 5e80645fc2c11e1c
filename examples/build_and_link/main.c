/* The edges of a disc, found by a model that lamina compiled: no Python, no runtime beside the library.

   usage: main [HEIGHT WIDTH] */
#include "edges.h"

#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
    int64_t height = argc == 3 ? atoll(argv[1]) : 13;
    int64_t width = argc == 3 ? atoll(argv[2]) : 26;
    float *image = calloc((size_t)(height * width), sizeof *image);
    float *strength = calloc((size_t)(height * width), sizeof *strength);
    if (image == NULL || strength == NULL) return 1;

    for (int64_t y = 0; y < height; y++)
        for (int64_t x = 0; x < width; x++) {
            double down = (2.0 * y + 1) / height - 1, across = (2.0 * x + 1) / width - 1;
            image[y * width + x] = across * across + down * down < 0.6;
        }

    int32_t status = edges(height, width, image, strength);
    if (status != EDGES_OK) {
        fprintf(stderr, status == EDGES_ERROR_EXTENT ? "%lld x %lld: 1 to 4096 of each was declared\n" : "it failed\n",
                (long long)height, (long long)width);
        return 1;
    }

    for (int64_t y = 0; y < height; y++) {
        for (int64_t x = 0; x < width; x++) {
            float s = strength[y * width + x];
            putchar(" +#"[(s > 0.5f) + (s > 3)]);
        }
        putchar('\n');
    }
    printf("%lld bytes of working memory, compiled by %s\n", (long long)edges_arena_bytes((int64_t[]){height, width}), edges_version());
    free(image);
    free(strength);
    return 0;
}
