// The public header from C++: extern "C", no name or construct that C++ refuses.
#include <embellama/embellama.h>

#include <string>

static_assert(EMBELLAMA_OK == 0, "success is 0");

int main()
{
    embellama_embed_options options = embellama_embed_options_default();
    options.pooling = EMBELLAMA_POOLING_CLS;
    float a[2] = {3, 4};
    embellama_normalize_vector(a, 2, EMBELLAMA_NORMALIZE_L2, 2);
    std::string name = embellama_pooling_name(options.pooling);
    return name == "cls" && a[0] > 0.59f && a[0] < 0.61f && embellama_cosine(a, a, 2) > 0.999f ? 0 : 1;
}
