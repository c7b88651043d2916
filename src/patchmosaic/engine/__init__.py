"""The engine: streamed softmax averages over a pool of images. Tensors in, tensors out; it knows nothing of diffusion.

Every function here answers one question: given queries y and a precision gamma, what is

    sum_j w_j v_j,    w = softmax_j(-gamma/2 ‖y - phi_j‖²)

where j runs over whole images (`whole`), over translated images (`translates`), or over patches round each pixel
(`patches`). The answer is a `PosteriorSum`, exact over the whole pool; the pool is read in blocks that obey `memory`.
"""
