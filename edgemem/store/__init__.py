"""What lies on disk for one user: memory.md and journal.db, and how both change together."""

from edgemem.store.names import check_user_name
from edgemem.store.records import FORGOTTEN, ChatInfo, Forgotten, LineHistory
from edgemem.store.user_store import UserStore, open_store

__all__ = ["FORGOTTEN", "ChatInfo", "Forgotten", "LineHistory", "UserStore", "check_user_name", "open_store"]
