"""A pole to balance on a cart: the control problem of Barto, Sutton and Anderson (1983), with numpy only."""

import math

import numpy as np


class CartPole:
    """Push the cart left (0) or right (1) so that the pole stays up.

    ``reset()`` returns the observation: position, speed, angle, angular speed, float32 (4,).  ``step(action)`` returns
    (observation, reward, terminated, truncated): a reward of 1 for every step; terminated when the pole leans by more
    than 12 degrees or the cart leaves the track, truncated after ``limit`` steps.
    """

    gravity, mass_cart, mass_pole, half_length, force, dt = 9.8, 1.0, 0.1, 0.5, 10.0, 0.02

    def __init__(self, seed=0, limit=500):
        self.rng = np.random.default_rng(seed)
        self.limit = limit

    def reset(self):
        self.state = self.rng.uniform(-0.05, 0.05, 4)
        self.steps = 0
        return self.state.astype(np.float32)

    def step(self, action):
        x, v, angle, spin = self.state
        push = self.force if action == 1 else -self.force
        sin, cos = math.sin(angle), math.cos(angle)
        mass = self.mass_cart + self.mass_pole
        moment = self.mass_pole * self.half_length
        common = (push + moment * spin**2 * sin) / mass
        spin_rate = (self.gravity * sin - cos * common) / (self.half_length * (4 / 3 - self.mass_pole * cos**2 / mass))
        acceleration = common - moment * spin_rate * cos / mass
        self.state = self.state + self.dt * np.array([v, acceleration, spin, spin_rate])
        self.steps += 1
        terminated = abs(self.state[0]) > 2.4 or abs(self.state[2]) > math.radians(12)
        return self.state.astype(np.float32), 1.0, bool(terminated), self.steps >= self.limit
