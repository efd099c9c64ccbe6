"""What all tests share."""

import signal

# A run that a shell started in the background ignores Ctrl+C, and so would the tests of it and the processes they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
