package notice

import (
	"fmt"

	"postern/mail"
)

func (w *bulletin) title() string {
	switch w.Kind {
	case LanePaused:
		return fmt.Sprintf(w.pick("Lane “%s” is paused", "발송 경로(lane) “%s” 일시 중지"), w.lane)
	case LaneRuns:
		return fmt.Sprintf(w.pick("Lane “%s” runs again", "발송 경로(lane) “%s” 발송 재개"), w.lane)
	case DiskFull:
		return w.pick("The disk is full: no mail is accepted", "디스크 공간 부족: 메일을 접수하지 못하고 있습니다")
	case DiskHasRoom:
		return w.pick("The disk has room again: mail is accepted", "디스크 공간 확보: 메일 접수를 재개했습니다")
	case DiskLow:
		return w.pick("The disk is filling up", "디스크 공간이 얼마 남지 않았습니다")
	}
	return w.pick("The spool cannot be written: Postern has stopped and needs you", "스풀 쓰기 실패: Postern이 멈추었습니다. 조치가 필요합니다")
}

// lead is what happened, in a sentence.
func (w *bulletin) lead() string {
	switch w.Kind {
	case LanePaused:
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
	}
	return w.pick("The spool could not be written to the disk. Postern accepts no mail and sends none until it has been restarted.",
		"스풀을 디스크에 기록하지 못했습니다. Postern을 다시 시작할 때까지 메일을 접수하지도 발송하지도 않습니다.")
}

// itself says what Postern does about it alone.
func (w *bulletin) itself() {
	switch w.Kind {
	case LanePaused:
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
	}
}

// advice is what the administrator should do.
func (w *bulletin) advice() {
	switch w.Kind {
	case LanePaused:
		w.WriteString(w.pick("What you should do: ", "관리자가 하실 일: "))
		w.laneAdvice()
		w.say("`postern queue list` shows what waits.", "대기 중인 메일은 `postern queue list`로 볼 수 있습니다.")
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

// laneAdvice follows the class for which the lane paused.
func (w *bulletin) laneAdvice() {
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
