"""Every limit and choice of the server, with its unit, and where each may come from."""

from blindai.server.settings.entries import CallerSettings as CallerSettings
from blindai.server.settings.entries import JwtSettings as JwtSettings
from blindai.server.settings.entries import ModelSettings as ModelSettings
from blindai.server.settings.key import GIB as GIB
from blindai.server.settings.key import KIB as KIB
from blindai.server.settings.key import MIB as MIB
from blindai.server.settings.settings import Settings as Settings
from blindai.server.settings.sources import Loaded as Loaded
from blindai.server.settings.sources import load_settings as load_settings
from blindai.server.settings.tables import DEFAULT_PORT as DEFAULT_PORT
