"""The native kernel of the patch machines, in C++; `posteriors` calls it."""
