"""One thread a reader: parallelism comes from readers, not from inside them."""

import cv2


def single_thread() -> None:
    """Keep OpenCV to the calling thread; to be called once in each process that runs readers.

    Libraries that start a thread a core in every reader multiply the CPU cost of a tile without making it faster
    (a measured factor of four for the same mistake with torch's threads).
    """
    cv2.setNumThreads(1)
