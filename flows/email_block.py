"""A Prefect block that sends alerts by e-mail through any SMTP server."""

import smtplib
import ssl
from email.message import EmailMessage
from typing import Literal

from prefect.blocks.abstract import NotificationBlock
from pydantic import Field, SecretStr

TIMEOUT_S = 30


class TunelineEmail(NotificationBlock):
    """Where alerts go by e-mail. `TunelineEmail(...).save("ops")` makes `tuneline-email/ops`."""

    _block_type_name = "Tuneline Email"
    _block_type_slug = "tuneline-email"

    host: str = Field(description="The SMTP server.")
    port: int = Field(default=587, ge=1, le=65535)
    security: Literal["starttls", "tls", "none"] = Field(
        default="starttls", description="`none` only for a server on this machine."
    )
    username: str | None = None
    password: SecretStr | None = None
    sender: str
    recipients: list[str] = Field(min_length=1)

    def notify(self, body: str, subject: str | None = None) -> None:  # type: ignore[override]
        """Send one message to all recipients. Raises `OSError` or `smtplib.SMTPException`."""
        message = EmailMessage()
        message["From"], message["To"] = self.sender, ", ".join(self.recipients)
        message["Subject"] = (subject or "tuneline").splitlines()[0]
        message.set_content(body)
        with self._connect() as server:
            if self.username and self.password:
                server.login(self.username, self.password.get_secret_value())
            server.send_message(message)

    def _connect(self) -> smtplib.SMTP:
        if self.security == "tls":
            context = ssl.create_default_context()
            return smtplib.SMTP_SSL(self.host, self.port, timeout=TIMEOUT_S, context=context)
        server = smtplib.SMTP(self.host, self.port, timeout=TIMEOUT_S)
        if self.security == "starttls":
            server.starttls(context=ssl.create_default_context())
        return server
