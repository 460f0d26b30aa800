(** What the graph of a certificate means, and how two runs of it differ.

    A run gives a value to every node: what its map makes of the values that it reads. Biases and parameters of activations
    are arbitrary, and so is the value that a region begins from. Of two runs only the difference counts: linear maps act on it
    without their biases, pointwise maps multiply its entries by slopes. *)

From Coq Require Import Arith ZArith QArith Qreals List Bool Lia Reals Lra Psatz.
From Lipverify Require Import Sums Vectors Lipschitz Residual Activations Maps Norms Certificate.
Import ListNotations.
Open Scope R_scope.

(** ** Meaning *)

(** What the certificate leaves open: biases, and the function of every entry of every pointwise map. *)
Record interpretation := Interpretation { bias : nat -> vec; function : nat -> nat -> R -> R }.

(** The function that an activation stands for; parameters that the certificate does not give are arbitrary. *)
Definition stands_for (a : activation) (f : R -> R) : Prop :=
  match a with
  | Relu => forall x, f x = relu x
  | Abs => forall x, f x = Rabs x
  | Hardtanh => exists low high, forall x, f x = hardtanh low high x
  | MaximumWithConstant => exists c, forall x, f x = Rmax c x
  | MinimumWithConstant => exists c, forall x, f x = Rmin c x
  | Hardsigmoid => forall x, f x = hardsigmoid x
  | Softshrink => exists c, forall x, f x = softshrink c x
  | Sin => forall x, f x = sin x
  | Cos => forall x, f x = cos x
  | Atan => forall x, f x = atan x
  | Asinh => forall x, f x = arcsinh x
  | Tanh => forall x, f x = tanh x
  | Tanhshrink => forall x, f x = x - tanh x
  | Sigmoid => forall x, f x = sigmoid x
  | Softplus => forall x, f x = softplus x
  | LogSigmoid => forall x, f x = log_sigmoid x
  | Assumed low high => slopes (Q2R low) (Q2R high) f
  end.

Fixpoint signed_sum (signs : list bool) (xs : list vec) (i : nat) : R :=
  match signs, xs with
  | plus :: signs', x :: xs' => (if plus then x i else - x i) + signed_sum signs' xs' i
  | _, _ => 0
  end.

(** Whether the value v is what its node makes of the values that it reads. *)
Definition agrees (I : interpretation) (env : nat -> vec) (v : nat) (nd : node) : Prop :=
  match map_of nd, reads nd with
  | Linear l, [r] => forall i, (i < rows l)%nat ->
      env v i = apply (columns l) (matrix l) (env r) i + bias I v i
  | Pointwise a _ _ n, [r] =>
      (forall i, (i < n)%nat -> stands_for a (function I v i)) /\
      forall i, (i < n)%nat -> env v i = function I v i (env r i)
  | Certificate.Sum signs n, rs => forall i, (i < n)%nat -> env v i = signed_sum signs (List.map env rs) i
  | _, _ => True
  end.

(** One run of the network, from an arbitrary value of [begin]. *)
Definition run (I : interpretation) (g : graph) (begin : nat) (env : nat -> vec) : Prop :=
  forall v nd, node_at g v = Some nd -> v <> begin -> agrees I env v nd.

(** ** Rational comparisons *)

Lemma Qle_real a b : Qle_bool a b = true -> Q2R a <= Q2R b.
Proof. intros holds. apply Qle_Rle, Qle_bool_iff, holds. Qed.

Lemma Qle_zero a : Qle_bool 0 a = true -> 0 <= Q2R a.
Proof. intros holds. apply Qle_real in holds. rewrite RMicromega.Q2R_0 in holds. exact holds. Qed.

Lemma Q2R_one : Q2R 1 = 1.
Proof. unfold Q2R. simpl. field. Qed.

Lemma lower_of_below a b : Q2R (lower_of a b) <= Q2R a /\ Q2R (lower_of a b) <= Q2R b.
Proof.
  unfold lower_of. destruct (Qle_bool a b) eqn:order; [apply Qle_real in order; lra|].
  assert (Q2R b <= Q2R a); [|lra]. apply Qle_Rle. apply Qlt_le_weak, Qnot_le_lt. intros le.
  apply Qle_bool_iff in le. congruence.
Qed.

Lemma upper_of_above a b : Q2R a <= Q2R (upper_of a b) /\ Q2R b <= Q2R (upper_of a b).
Proof.
  unfold upper_of. destruct (Qle_bool a b) eqn:order; [apply Qle_real in order; lra|].
  assert (Q2R b <= Q2R a); [|lra]. apply Qle_Rle. apply Qlt_le_weak, Qnot_le_lt. intros le.
  apply Qle_bool_iff in le. congruence.
Qed.

Lemma steepest_above low high : Rabs (Q2R low) <= Q2R (steepest low high) /\ Rabs (Q2R high) <= Q2R (steepest low high).
Proof.
  unfold steepest.
  pose proof (upper_of_above (upper_of low (- low)) (upper_of high (- high))) as [Hl Hh].
  pose proof (upper_of_above low (- low)) as [Hl1 Hl2]. pose proof (upper_of_above high (- high)) as [Hh1 Hh2].
  rewrite Q2R_opp in Hl2, Hh2. split; apply Rabs_le; lra.
Qed.

Lemma stands_for_slopes a f : stands_for a f -> slopes (Q2R (fst (known_slopes a))) (Q2R (snd (known_slopes a))) f.
Proof.
  assert (Q2R (0 # 1) = 0) as zero by (unfold Q2R; simpl; field).
  assert (Q2R (1 # 1) = 1) as one by (unfold Q2R; simpl; field).
  assert (Q2R (-1 # 1) = -1) as minus by (unfold Q2R; simpl; field).
  assert (Q2R (1 # 6) = 1 / 6) as sixth by (unfold Q2R; simpl; field).
  assert (Q2R (1 # 4) = 1 / 4) as quarter by (unfold Q2R; simpl; field).
  destruct a; simpl; rewrite ?zero, ?one, ?minus, ?sixth, ?quarter; intros same; try exact same;
    repeat (destruct same as [? same]); (eapply slopes_ext; [intros z; symmetry; apply same|]).
  - apply slopes_relu.
  - apply slopes_abs.
  - apply slopes_hardtanh.
  - apply slopes_maximum_with_constant.
  - apply slopes_minimum_with_constant.
  - apply slopes_hardsigmoid.
  - apply slopes_softshrink.
  - apply slopes_sin.
  - apply slopes_cos.
  - apply slopes_atan.
  - apply slopes_asinh.
  - apply slopes_tanh.
  - apply slopes_tanhshrink.
  - apply slopes_sigmoid.
  - apply slopes_softplus.
  - apply slopes_log_sigmoid.
Qed.

(** ** Differences of two runs *)

Definition difference (env env' : nat -> vec) (v : nat) : vec := vminus (env v) (env' v).

Section TwoRuns.
  Variables (I : interpretation) (g : graph) (begin : nat) (env env' : nat -> vec).
  Hypothesis first_run : run I g begin env.
  Hypothesis second_run : run I g begin env'.

  Let diff (v : nat) : vec := difference env env' v.

  Lemma diff_linear v l r i :
    node_at g v = Some (Node (Linear l) [r]) -> v <> begin -> (i < rows l)%nat ->
    diff v i = apply (columns l) (matrix l) (diff r) i.
  Proof.
    intros here other below. pose proof (first_run v _ here other i below) as one.
    pose proof (second_run v _ here other i below) as two. unfold diff, difference. rewrite apply_minus.
    unfold vminus. rewrite one, two. ring.
  Qed.

  (** One slope for every entry. *)
  Lemma diff_pointwise v a low high n r :
    node_at g v = Some (Node (Pointwise a low high n) [r]) -> v <> begin ->
    Qle_bool low (fst (known_slopes a)) = true -> Qle_bool (snd (known_slopes a)) high = true ->
    exists t, forall i, (i < n)%nat -> Q2R low <= t i <= Q2R high /\ diff v i = t i * diff r i.
  Proof.
    intros here other below above. apply Qle_real in below, above.
    destruct (first_run v _ here other) as [kind one]. destruct (second_run v _ here other) as [_ two].
    apply (finite_choice n (fun i t => Q2R low <= t <= Q2R high /\ diff v i = t * diff r i)). intros i inside.
    pose proof (stands_for_slopes a (function I v i) (kind i inside)) as slope.
    assert (Q2R (fst (known_slopes a)) <= Q2R (snd (known_slopes a))) as order
      by (specialize (slope 1 0 ltac:(lra)); lra).
    destruct (slopes_between _ _ _ (env r i) (env' r i) order slope) as (t & between & same).
    exists t. split; [lra|]. unfold diff, difference, vminus. rewrite (one i inside), (two i inside). exact same.
  Qed.

  (** ** Scalars *)

  Lemma dyadic_correct m e : Q2R (dyadic m e) = IZR m * powerRZ 2 e.
  Proof.
    assert (forall k, (0 <= k)%Z -> IZR (2 ^ k) = powerRZ 2 k) as power.
    { intros k nonneg. destruct (Z_of_nat_complete k nonneg) as [j ->].
      rewrite <- pow_IZR, <- pow_powerRZ. reflexivity. }
    unfold dyadic. destruct (Z.leb_spec e 0) as [small|large].
    - unfold Q2R. cbn [Qnum Qden]. rewrite Z2Pos.id by (apply Z.pow_pos_nonneg; lia).
      rewrite power, powerRZ_neg', Rinv_involutive by (try apply powerRZ_NOR; lia || lra). reflexivity.
    - unfold Q2R, inject_Z. cbn [Qnum Qden]. rewrite mult_IZR, power by lia. field.
  Qed.

  Lemma scalar_of_correct l c x i :
    scalar_of l = Some c -> (i < rows l)%nat -> rows l = columns l /\ apply (columns l) (matrix l) x i = Q2R c * x i.
  Proof.
    destruct l as [before out inner after w | k | out inner source | n factor | of | p q]; try discriminate.
    - unfold scalar_of. destruct (out =? inner) eqn:square_; [|discriminate].
      destruct (all_below out _) eqn:identity; [|discriminate]. intros same below. injection same as <-.
      apply Nat.eqb_eq in square_. cbn [rows columns shape fst snd] in *. subst inner. split; [reflexivity|].
      apply (all_below_each _ _ i) in identity; [|exact below]. cbv beta in identity.
      destruct (source i) as [k|] eqn:here; [|discriminate]. apply Nat.eqb_eq in identity. subst k.
      unfold apply, dot, matrix. cbn [entry scale]. rewrite here, (sum_only out _ i below).
      + rewrite Nat.eqb_refl. rewrite Q2R_one. simpl. ring.
      + intros j _ other. destruct (Nat.eqb_spec i j); [congruence | ring].
    - unfold scalar_of. destruct (all_below n _) eqn:constant; [|discriminate]. intros same below.
      injection same as <-. cbn [rows columns shape fst snd] in *. split; [reflexivity|].
      apply (all_below_each _ _ i) in constant; [|exact below]. cbv beta in constant. apply Z.eqb_eq in constant.
      unfold apply, dot, matrix. cbn [entry scale]. rewrite (sum_only n _ i below).
      + rewrite Nat.eqb_refl, constant, dyadic_correct. reflexivity.
      + intros j _ other. destruct (Nat.eqb_spec i j); [congruence | ring].
  Qed.

  Lemma without_scalars_correct fuel v c w :
    without_scalars fuel g begin v = (c, w) ->
    size g v = size g w /\ forall i, (i < size g v)%nat -> diff v i = Q2R c * diff w i.
  Proof.
    assert (forall v, size g v = size g v /\ forall i, (i < size g v)%nat -> diff v i = Q2R (1 # 1) * diff v i) as same.
    { intros u. split; [reflexivity|]. intros i _. replace (Q2R (1 # 1)) with 1 by (symmetry; apply Q2R_one). ring. }
    revert v c w. induction fuel as [|fuel IH]; intros v c w; cbn [without_scalars].
    - intros found. injection found as <- <-. apply same.
    - destruct (node_at g v) as [[m rs]|] eqn:here; [|intros found; injection found as <- <-; apply same].
      destruct m as [l| | |]; try (intros found; injection found as <- <-; apply same).
      destruct rs as [|r [|]]; try (intros found; injection found as <- <-; apply same).
      destruct (scalar_of l) as [d|] eqn:scalar; [|intros found; injection found as <- <-; apply same].
      destruct ((v =? begin) || negb (columns l =? size g r)) eqn:usable;
        [intros found; injection found as <- <-; apply same|].
      apply orb_false_iff in usable as [other fits]. apply Nat.eqb_neq in other.
      apply negb_false_iff, Nat.eqb_eq in fits.
      destruct (without_scalars fuel g begin r) as [e u] eqn:inner. intros found. injection found as <- <-.
      destruct (IH r e u inner) as [sizes known].
      assert (size g v = rows l) as own by (unfold size; destruct v; [discriminate | rewrite here; reflexivity]).
      split.
      + destruct (Nat.eq_dec (rows l) 0) as [none|some].
        * rewrite <- sizes, <- fits, own. destruct l; try discriminate; cbn in *; [|reflexivity].
          destruct (out =? inner0) eqn:eq; [apply Nat.eqb_eq in eq; exact eq | discriminate].
        * destruct (scalar_of_correct l d (fun _ => 0) 0 scalar) as [square_ _]; [lia|]. lia.
      + intros i below. rewrite own in below.
        rewrite (diff_linear v l r i here other below).
        destruct (scalar_of_correct l d (diff r) i scalar below) as [square_ ->].
        rewrite Q2R_mult, (known i) by lia. ring.
  Qed.
End TwoRuns.
