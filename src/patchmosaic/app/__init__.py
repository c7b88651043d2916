"""The explorer: one page in the browser that shows what a machine draws, step by step, and for every pixel why.

subjects    what can be explored: a run, a data set, the toy of two images
ask         one question: data, machine, seed, class, patch sizes, steps
session     answers questions, through the public API only, as a stream of messages
messages    tensors as JSON
jobs        answers made in a thread that can be cancelled
server      the questions as routes, on this machine only
export      answers recorded in one file that needs no server
page/       the page itself; live and recorded answers look the same to it
"""
