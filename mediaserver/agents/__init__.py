"""Ready-made handlers and voice agents: to run, to read, to subclass."""

from mediaserver.agents.conversing.agent import Agent
from mediaserver.agents.conversing.conversation import Conversation
from mediaserver.agents.conversing.listening import BargeIn, Listener, Utterance
from mediaserver.agents.conversing.realtime_agent import RealtimeAgent
from mediaserver.agents.conversing.tools import tool
from mediaserver.agents.conversing.voice_agent import VoiceAgent
from mediaserver.agents.echo import Echo
from mediaserver.agents.menu import Menu, Transfer
from mediaserver.agents.parrot import Parrot
from mediaserver.agents.player import Player
from mediaserver.agents.prompts import spoken
from mediaserver.agents.recording.recorder import Recorder, recorded
from mediaserver.agents.recording.recording import Recording
from mediaserver.agents.transcriber import Transcriber
from mediaserver.agents.turns import TurnSettings


__all__ = [
    "Agent",
    "BargeIn",
    "Conversation",
    "Echo",
    "Listener",
    "Menu",
    "Parrot",
    "Player",
    "RealtimeAgent",
    "Recorder",
    "Recording",
    "Transcriber",
    "Transfer",
    "TurnSettings",
    "Utterance",
    "VoiceAgent",
    "recorded",
    "spoken",
    "tool",
]
