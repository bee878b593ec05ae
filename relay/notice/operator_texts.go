package notice

import (
	"fmt"

	"postern/mail"
)

func (w *bulletin) title() string {
	switch w.Kind {
	case LaneHeld:
		return fmt.Sprintf(w.pick("Lane “%s” holds its bulk mail back", "발송 경로(lane) “%s” 대량 메일 발송 중지"), w.lane)
	case LanePaused:
		if w.ByHand {
			return fmt.Sprintf(w.pick("Lane “%s” is still paused by hand", "발송 경로(lane) “%s” 수동 중지 상태 지속"), w.lane)
		}
		return fmt.Sprintf(w.pick("Lane “%s” is paused", "발송 경로(lane) “%s” 일시 중지"), w.lane)
	case LaneRuns:
		return fmt.Sprintf(w.pick("Lane “%s” runs again", "발송 경로(lane) “%s” 발송 재개"), w.lane)
	case DiskFull:
		return w.pick("The disk is full: no mail is accepted", "디스크 공간 부족: 메일을 접수하지 못하고 있습니다")
	case DiskHasRoom:
		return w.pick("The disk has room again: mail is accepted", "디스크 공간 확보: 메일 접수를 재개했습니다")
	case DiskLow:
		return w.pick("The disk is filling up", "디스크 공간이 얼마 남지 않았습니다")
	case SyncLate:
		return w.pick("The sync from MySQL is behind", "MySQL 동기화가 늦어지고 있습니다")
	case SyncAgain:
		return w.pick("The sync from MySQL works again", "MySQL 동기화가 재개되었습니다")
	}
	return w.pick("The spool cannot be written: Postern has stopped and needs you", "스풀 쓰기 실패: Postern이 멈추었습니다. 조치가 필요합니다")
}

// lead is what happened, in a sentence.
func (w *bulletin) lead() string {
	switch w.Kind {
	case LaneHeld:
		return fmt.Sprintf(w.pick("Too much of what left through the lane “%s” comes back or is reported as spam. Its bulk mail waits until you resume it. Transactional mail goes on.",
			"발송 경로(lane) “%s”로 보낸 메일이 너무 많이 반송되거나 스팸으로 신고되고 있습니다. 이 경로의 대량 메일은 관리자가 재개할 때까지 발송하지 않습니다. 주문 확인처럼 한 분씩 보내는 메일은 계속 발송합니다."), w.lane)
	case LanePaused:
		if w.ByHand {
			return fmt.Sprintf(w.pick("Somebody has paused the lane “%s” by hand, and it still is. Nothing leaves through it.", "누군가 발송 경로(lane) “%s”의 발송을 직접 중지했고, 아직 그 상태입니다. 이 경로로는 메일이 나가지 않습니다."), w.lane)
		}
		return fmt.Sprintf(w.pick("The lane “%s” is paused. Nothing leaves through it at the moment.", "발송 경로(lane) “%s”의 발송이 일시 중지되었습니다. 지금은 이 경로로 메일이 나가지 않습니다."), w.lane)
	case LaneRuns:
		return fmt.Sprintf(w.pick("The lane “%s” runs again.", "발송 경로(lane) “%s”의 발송이 재개되었습니다."), w.lane)
	case DiskFull:
		return w.pick("The disk that holds data_dir is full. No new mail can be accepted.", "data_dir이 있는 디스크에 남은 공간이 없습니다. 새 메일을 접수할 수 없습니다.")
	case DiskHasRoom:
		return w.pick("The disk that holds data_dir has room again. New mail is accepted.", "data_dir이 있는 디스크에 공간이 생겨 새 메일을 다시 접수합니다.")
	case DiskLow:
		return w.pick("The disk that holds data_dir has little room left. Mail is still accepted and sent.",
			"data_dir이 있는 디스크의 남은 공간이 얼마 되지 않습니다. 아직은 메일을 접수하고 발송합니다.")
	case SyncLate:
		return w.pick("No sync from MySQL has ended well for three intervals. Mail goes on, to those whom the directory had at the last good one.",
			"MySQL 동기화가 세 주기 동안 한 번도 정상적으로 끝나지 않았습니다. 메일은 마지막으로 동기화된 수신자 목록에 따라 계속 발송됩니다.")
	case SyncAgain:
		return w.pick("A sync from MySQL has ended well, and the directory is in step again.", "MySQL 동기화가 정상적으로 끝나 수신자 목록이 다시 최신 상태가 되었습니다.")
	}
	return w.pick("The spool could not be written to the disk. Postern accepts no mail and sends none until it has been restarted.",
		"스풀을 디스크에 기록하지 못했습니다. Postern을 다시 시작할 때까지 메일을 접수하지도 발송하지도 않습니다.")
}

// itself says what Postern does about it alone.
func (w *bulletin) itself() {
	switch w.Kind {
	case LaneHeld:
		w.say("What Postern does by itself: it accepts mail as before and keeps the bulk mail in the spool. Nothing is lost. It does not resume the bulk mail by itself, because the provider closes accounts that go on like this (Amazon SES reviews an account at 5 %% bounces or 0.1 %% complaints and stops it at 10 %% or 0.5 %%).",
			"Postern이 자동으로 하는 일: 메일은 평소처럼 접수하고, 대량 메일은 스풀에 보관합니다. 메일은 없어지지 않습니다. 대량 메일의 발송은 자동으로 재개하지 않습니다. 이대로 계속 보내면 서비스 제공자가 계정을 정지하기 때문입니다(Amazon SES는 반송 5%% 또는 스팸 신고 0.1%%에서 계정을 검토하고, 10%% 또는 0.5%%에서 발송을 정지합니다).")
	case LanePaused:
		if w.ByHand {
			w.say("What Postern does by itself: it accepts mail as before and keeps everything in the spool. Nothing is lost. It does not resume the lane by itself.",
				"Postern이 자동으로 하는 일: 메일은 평소처럼 접수하여 모두 스풀에 보관합니다. 메일은 없어지지 않습니다. 발송은 자동으로 재개하지 않습니다.")
			return
		}
		w.say("What Postern does by itself: it accepts mail as before and keeps everything in the spool. Nothing is lost. A single copy tries the lane again and again; as soon as it passes, the lane runs again and you are told.",
			"Postern이 자동으로 하는 일: 메일은 평소처럼 접수하여 모두 스풀에 보관합니다. 메일은 없어지지 않습니다. 메일을 한 통씩 보내 보며 경로를 다시 확인하고, 성공하면 발송을 재개한 뒤 알려 드립니다.")
	case LaneRuns:
		w.say("What has waited is sent by itself. There is nothing to do.", "기다리던 메일은 자동으로 발송됩니다. 따로 하실 일은 없습니다.")
	case DiskFull:
		w.say("What Postern does by itself: it answers senders with “452, try again later”, upon which most mail programs and servers try again. What was accepted before is safe and is still sent. As soon as there is room, mail is accepted again and you are told.",
			"Postern이 자동으로 하는 일: 보내는 쪽에 “452, 나중에 다시 시도”라고 응답합니다. 메일 프로그램과 서버는 대부분 나중에 다시 보냅니다. 이미 접수한 메일은 안전하며 계속 발송합니다. 공간이 생기면 접수를 재개하고 알려 드립니다.")
	case DiskHasRoom:
		w.say("There is nothing to do. Senders who were told to try again later do so by themselves, as far as their program can.",
			"따로 하실 일은 없습니다. 나중에 다시 시도하라는 응답을 받은 쪽은, 그런 기능이 있는 프로그램이라면 스스로 다시 보냅니다.")
	case SpoolBroken:
		w.say("What Postern does by itself: it answers senders with “try again later” and touches nothing. After a failed write nobody can know what is on the disk; going on could lose mail or send it twice. Only a restart, which checks the spool, can tell.",
			"Postern이 자동으로 하는 일: 보내는 쪽에 나중에 다시 시도하라고 응답하고 아무것도 건드리지 않습니다. 쓰기에 실패한 뒤에는 무엇이 디스크에 기록되었는지 알 수 없어, 계속하면 메일이 없어지거나 두 번 나갈 수 있습니다. 다시 시작하면서 스풀을 점검해야만 알 수 있습니다.")
	case DiskLow:
		w.say("What Postern does by itself: when the disk is full it accepts no mail until there is room again. What was accepted before is safe.",
			"Postern이 자동으로 하는 일: 디스크가 가득 차면 공간이 생길 때까지 메일을 접수하지 않습니다. 이미 접수한 메일은 안전합니다.")
	case SyncLate:
		w.say("What Postern does by itself: it tries again, and tells you when a pass has ended well. Until then new users get no mail, and whoever is unsubscribed in MySQL alone still gets it. Who leaves by a link or by mail gets nothing more, as ever.",
			"Postern이 자동으로 하는 일: 동기화를 계속 다시 시도하고, 정상적으로 끝나면 알려 드립니다. 그때까지 새 회원에게는 메일이 가지 않고, MySQL에서만 수신을 거부한 회원에게는 메일이 계속 갑니다. 링크나 메일로 수신을 거부한 분께는 언제나처럼 더 이상 보내지 않습니다.")
	case SyncAgain:
		w.say("There is nothing to do.", "따로 하실 일은 없습니다.")
	}
}

// advice is what the administrator should do.
func (w *bulletin) advice() {
	switch w.Kind {
	case LaneHeld:
		w.heldAdvice()
	case LanePaused:
		w.WriteString(w.pick("What you should do: ", "관리자가 하실 일: "))
		w.laneAdvice()
	case SyncLate:
		w.say("What you should do: see what `postern sync status` says. Does this machine reach MySQL, are user and password of sync.dsn still right, has the table changed? If the tripwire has stopped it, `postern sync --dry-run` shows who would be taken out or unsubscribed.",
			"관리자가 하실 일: `postern sync status`로 이유를 확인해 주십시오. 이 서버에서 MySQL에 연결되는지, sync.dsn의 사용자와 암호가 맞는지, 테이블이 바뀌지 않았는지 살펴 주십시오. 안전장치(tripwire)가 멈춘 것이라면 `postern sync --dry-run`으로 누가 빠지거나 수신 거부가 되는지 볼 수 있습니다.")
	case DiskLow, DiskFull:
		w.say("What you should do: make room on that disk, or enlarge it. `df -h` shows what is free. Do not delete anything in data_dir by hand: mail would be lost.",
			"관리자가 하실 일: 디스크를 비우거나 늘려 주십시오. 남은 공간은 `df -h`로 볼 수 있습니다. data_dir 안의 파일은 직접 지우지 마십시오. 메일이 없어집니다.")
	case SpoolBroken:
		w.WriteString(w.pick("What you should do:\n\n", "관리자가 하실 일:\n\n"))
		w.say("    1. Look at the disk: `df -h` for room, `dmesg` for errors of the device, and whether the file system has become read-only.\n"+
			"    2. Mend what is wrong there.\n"+
			"    3. Restart Postern. The start checks the spool; what was accepted is still there and is sent.\n"+
			"    4. Run `postern spool check`. If it names damage, stop Postern and restore the last backup, or keep the folder for analysis.",
			"    1. 디스크를 점검합니다. `df -h`로 남은 공간을, `dmesg`로 장치 오류를 보고, 파일 시스템이 읽기 전용으로 바뀌지 않았는지 확인합니다.\n"+
				"    2. 발견한 문제를 해결합니다.\n"+
				"    3. Postern을 다시 시작합니다. 시작하면서 스풀을 점검하며, 접수된 메일은 그대로 남아 있어 발송됩니다.\n"+
				"    4. `postern spool check`를 실행합니다. 손상이 있다고 나오면 Postern을 멈추고 마지막 백업을 복원하거나, 분석할 수 있도록 폴더를 보관합니다.")
	}
}

// laneAdvice follows the class for which the lane paused, and ends with the commands.
func (w *bulletin) laneAdvice() {
	remedy := line(w.Remedy, maxWords)
	switch {
	case w.ByHand:
		w.say("nothing, if this is meant to be. If not, `postern lane resume %[1]s` lets the lane run again. `postern lane list` shows how all lanes stand, `postern queue list` what waits.",
			"의도한 것이라면 없습니다. 그렇지 않다면 `postern lane resume %[1]s`로 발송을 재개해 주십시오. 모든 경로의 상태는 `postern lane list`로, 대기 중인 메일은 `postern queue list`로 볼 수 있습니다.", w.lane)
		return
	case remedy != "" && w.tongue != korean: // it is in English
		w.WriteString(remedy + "\n\n")
	default:
		w.classAdvice()
	}
	w.say("`postern lane list` shows how the lanes stand, `postern queue list` what waits. The lane is tried again by itself; `postern lane resume %[1]s` tries it at once.",
		"경로의 상태는 `postern lane list`로, 대기 중인 메일은 `postern queue list`로 볼 수 있습니다. 경로는 자동으로 다시 시도하며, 바로 시도하려면 `postern lane resume %[1]s`를 실행해 주십시오.", w.lane)
}

// heldAdvice is how to find out what came back, and how to go on.
func (w *bulletin) heldAdvice() {
	w.say("What you should do:", "관리자가 하실 일:")
	w.steps(
		w.pick("Find the messages: `postern queue list` lists them all, `postern queue show ID --outcome bounced` shows what came back of one, and `--outcome complained` who reported it as spam.",
			"문제가 된 메일을 찾습니다. 전체 목록은 `postern queue list`로, 반송된 주소는 `postern queue show ID --outcome bounced`로, 스팸으로 신고한 주소는 `--outcome complained`로 볼 수 있습니다."),
		w.pick("Ask where their recipients come from. Old lists, bought or collected addresses, and imports with a shifted column are the usual causes.",
			"수신자 주소가 어디에서 왔는지 확인합니다. 오래된 목록, 구입하거나 수집한 주소, 열이 밀린 채 가져온 파일이 흔한 원인입니다."),
		w.pick("Cancel what should not go out any more: `postern queue cancel ID`.", "더 이상 보내지 않을 메일은 취소합니다: `postern queue cancel ID`"),
		fmt.Sprintf(w.pick("Let the bulk mail go on: `postern lane resume %s`. The count begins anew then. Addresses that came back for good are suppressed and get nothing more.",
			"대량 메일의 발송을 재개합니다: `postern lane resume %s`. 반송과 신고는 그때부터 새로 세며, 최종 반송된 주소로는 더 이상 메일이 가지 않습니다."), w.lane))
}

func (w *bulletin) classAdvice() {
	switch w.Class {
	case mail.AccountWide:
		w.say("check the account. Is the password or key in the lane's configuration still right, has it expired, has the provider suspended the account? After a change of the configuration, restart Postern.",
			"계정을 확인해 주십시오. 설정의 암호나 키가 맞는지, 만료되지 않았는지, 서비스 제공자가 계정을 정지하지 않았는지 살펴 주십시오. 설정을 바꾼 뒤에는 Postern을 다시 시작해 주십시오.")
	case mail.QuotaSpent:
		w.say("nothing, if the mail can wait. Quota becomes free within the next 24 hours and sending goes on by itself. If this happens often, ask the provider for a larger quota.",
			"급하지 않다면 없습니다. 24시간 안에 한도가 다시 생기면 자동으로 발송합니다. 자주 생기는 일이라면 서비스 제공자에게 한도 증설을 요청해 주십시오.")
	case mail.Unreachable:
		w.say("check that this machine reaches the service: its name and port in the lane's configuration, DNS, the firewall. Does the provider report a disturbance?",
			"이 서버에서 발송 서비스에 연결되는지 확인해 주십시오. 설정의 이름과 포트, DNS, 방화벽을 점검하시고 서비스 제공자의 장애 공지도 살펴 주십시오.")
	case mail.Uncertain:
		w.say("ask the provider whether there is a disturbance. Copies whose result is not known are shown as uncertain: they may have been sent.",
			"서비스 제공자에게 장애가 있는지 확인해 주십시오. 결과를 알 수 없는 메일은 이미 나갔을 수도 있어 uncertain으로 표시됩니다.")
	default:
		w.say("check credentials, quota and connection of the lane.",
			"이 경로의 로그인 정보, 발송 한도, 연결 상태를 점검해 주십시오.")
	}
}
