"""Balance a pole by policy gradients: REINFORCE (Williams 1992) or an actor with a critic (Konda & Tsitsiklis 2000).

    python -m pytorchlike examples/policy_gradient.py --method actor-critic
"""

import argparse
from collections import deque, namedtuple

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
from _cartpole import CartPole
from torch.distributions import Categorical

SavedAction = namedtuple("SavedAction", ["log_prob", "value"])
eps = np.finfo(np.float32).eps.item()


class Policy(nn.Module):
    """Probabilities of the actions."""

    def __init__(self):
        super(Policy, self).__init__()
        self.affine1 = nn.Linear(4, 128)
        self.dropout = nn.Dropout(p=0.6)
        self.affine2 = nn.Linear(128, 2)
        self.saved_log_probs = []
        self.rewards = []

    def forward(self, x):
        x = self.dropout(self.affine1(x))
        return F.softmax(self.affine2(F.relu(x)), dim=1)

    def select_action(self, state):
        state = torch.from_numpy(state).float().unsqueeze(0)
        probs = self(state)
        m = Categorical(probs)
        action = m.sample()
        self.saved_log_probs.append(m.log_prob(action))
        return action.item()

    def loss(self, gamma):
        R = 0
        policy_loss = []
        returns = deque()
        for r in self.rewards[::-1]:
            R = r + gamma * R
            returns.appendleft(R)
        returns = torch.tensor(returns)
        returns = (returns - returns.mean()) / (returns.std() + eps)
        for log_prob, R in zip(self.saved_log_probs, returns):
            policy_loss.append(-log_prob * R)
        del self.saved_log_probs[:]
        return torch.cat(policy_loss).sum()


class ActorCritic(nn.Module):
    """Probabilities of the actions, and the value of the state."""

    def __init__(self):
        super(ActorCritic, self).__init__()
        self.affine1 = nn.Linear(4, 128)
        self.action_head = nn.Linear(128, 2)
        self.value_head = nn.Linear(128, 1)
        self.saved_actions = []
        self.rewards = []

    def forward(self, x):
        x = F.relu(self.affine1(x))
        return F.softmax(self.action_head(x), dim=-1), self.value_head(x)

    def select_action(self, state):
        state = torch.from_numpy(state).float()
        probs, state_value = self(state)
        m = Categorical(probs)
        action = m.sample()
        self.saved_actions.append(SavedAction(m.log_prob(action), state_value))
        return action.item()

    def loss(self, gamma):
        R = 0
        policy_losses, value_losses, returns = [], [], []
        for r in self.rewards[::-1]:
            R = r + gamma * R
            returns.insert(0, R)
        returns = torch.tensor(returns)
        returns = (returns - returns.mean()) / (returns.std() + eps)
        for (log_prob, value), R in zip(self.saved_actions, returns):
            advantage = R - value.item()
            policy_losses.append(-log_prob * advantage)
            value_losses.append(F.smooth_l1_loss(value, torch.tensor([R])))
        del self.saved_actions[:]
        return torch.stack(policy_losses).sum() + torch.stack(value_losses).sum()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--method", choices=["reinforce", "actor-critic"], default="reinforce")
    parser.add_argument("--episodes", type=int, default=300)
    parser.add_argument("--gamma", type=float, default=0.99)
    parser.add_argument("--limit", type=int, default=500, help="steps after which an episode ends well")
    parser.add_argument("--quick", action="store_true", help="few short episodes, for a quick look")
    parser.add_argument("--seed", type=int, default=543)
    parser.add_argument("--log-interval", type=int, default=25)
    args = parser.parse_args()
    if args.quick:
        args.episodes, args.limit = 3, 12
    torch.manual_seed(args.seed)

    env = CartPole(args.seed, args.limit)
    model = Policy() if args.method == "reinforce" else ActorCritic()
    optimizer = optim.Adam(model.parameters(), lr=1e-2 if args.method == "reinforce" else 3e-2)
    running_reward = 10
    for i_episode in range(1, args.episodes + 1):
        state, ep_reward = env.reset(), 0
        while True:
            action = model.select_action(state)
            state, reward, terminated, truncated = env.step(action)
            model.rewards.append(reward)
            ep_reward += reward
            if terminated or truncated:
                break
        running_reward = 0.05 * ep_reward + (1 - 0.05) * running_reward
        optimizer.zero_grad()
        loss = model.loss(args.gamma)
        loss.backward()
        optimizer.step()
        del model.rewards[:]
        if i_episode % args.log_interval == 0:
            print(f"Episode {i_episode}\tLast reward: {ep_reward:.2f}\tAverage reward: {running_reward:.2f}")
        if running_reward > 0.95 * args.limit:
            print(f"Solved in {i_episode} episodes")
            break
    print(f"running reward {running_reward:.1f}")


if __name__ == "__main__":
    main()
