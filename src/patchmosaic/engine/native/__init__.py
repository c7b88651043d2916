"""The native kernels, in C++: `instructions` chooses what they run, `posteriors` and `whole_images` call them."""
