"""What a server would find on this machine: `blindai doctor`. Runs without the packages of a server."""

from blindai.server.doctor.examination import Surroundings as Surroundings
from blindai.server.doctor.examination import examine as examine
from blindai.server.doctor.report import Check as Check
from blindai.server.doctor.report import Report as Report
from blindai.server.doctor.report import Section as Section
from blindai.server.doctor.report import Status as Status
