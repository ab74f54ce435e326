"""What the support desks in this folder say and can do. Their tools stand for a shop's systems."""

from mediaserver.agents import Agent, tool


class SupportDesk(Agent):
    """Answers the callers of a company that sells software for rosters."""

    greeting = "Lantern support, good day. What can I do for you?"
    transfers = {"a colleague": "https://lantern.example.com/colleague.xml"}
    prompt = (
        "You answer the support line of Lantern, whose rosters are nine dollars a month for one "
        "person and twenty each for a team. Speak in one or two short sentences. Look orders up; "
        "do not guess. If you cannot help, offer to have somebody call back, or a colleague."
    )

    @tool(hold="One moment, I am looking it up.")
    async def order_status(self, number: str) -> str:
        """Look up how far an order is."""
        orders = {"4711": "It left yesterday.", "4712": "It is being packed."}
        return orders.get(number, "There is no such order. Ask for the number again.")

    @tool
    async def send_text(self, message: str) -> str:
        """Send a text message to the caller's telephone."""
        return f"Sent to {self.stream.caller}: {message}"

    @tool
    async def call_back(self, about: str) -> str:
        """Have a specialist call the caller back today."""
        return f"Noted: call {self.stream.caller} about {about}"
