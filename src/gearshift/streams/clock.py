import math
import time


class RealClock:
    is_virtual = False

    def now(self):
        return time.monotonic()

    def seconds_until(self, due):
        return None if due == math.inf else max(0.0, due - self.now())

    def idle(self, due):
        return False

    def watch(self, w):
        pass

    def unwatch(self, w):
        pass
