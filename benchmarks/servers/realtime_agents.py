"""The agents of the agents benchmark that need a speech-to-speech model.

The environment variable `BENCHMARK_REALTIME_URL` has the model's URL.
"""

import os

from benchmarks.servers.mock_timings import END_OF_TURN
from mediaserver.agents.conversing.realtime_agent import RealtimeAgent
from mediaserver.agents.services.openai.realtime import OpenAIRealtime
from mediaserver.agents.turns import TurnSettings, prewarm


prewarm()

URL_VARIABLE = "BENCHMARK_REALTIME_URL"


class Conversing(RealtimeAgent):
    """Has the model answer."""

    prompt = "You answer for a shop."
    silence_prompt = None
    turn_taking = TurnSettings(end_of_turn=END_OF_TURN)
    model = OpenAIRealtime(base_url=os.environ.get(URL_VARIABLE), api_key="a test key")
